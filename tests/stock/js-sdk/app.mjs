// What an app does to log somebody in through the OAuth 2.0 API, and a browser on the server's pages. `state` is the scenario's.

import assert from "node:assert/strict";
import { OAuth2 } from "matrix-js-sdk/lib/oauth/index.js";
import { Device, PASSWORD, call, fresh, logger } from "./party.mjs";

/** Goes to where the app sends a browser. Gives what the app keeps meanwhile. */
export async function ask(state, visitor, { mode = "fragment", prompt, scope, deviceId } = {}) {
  const auth = new OAuth2(state.metadata, { clientId: state.clientId, deviceId }, logger);
  const secret = fresh("state");
  await visitor.page.goto(await auth.generateAuthorizationCodeGrantUrl(secret, state.back, mode, prompt, scope?.(auth.context.deviceId)));
  return { auth, secret, mode };
}

/** Waits until the browser is back at the app; gives the answer. */
export async function answer(state, visitor, { secret, mode }) {
  await visitor.page.waitForURL((url) => url.href.startsWith(state.back));
  const url = new URL(visitor.page.url());
  const fields = new URLSearchParams(mode === "fragment" ? url.hash.slice(1) : url.search);
  assert.equal(mode === "fragment" ? url.search : url.hash, "", url.href);
  assert.equal(fields.get("state"), secret);
  assert.equal(fields.get("iss") ?? state.metadata.issuer, state.metadata.issuer);
  return fields;
}

/** Who a token is. */
export async function whoami(state, token) {
  const answer = await call(state.url, "GET", "/_matrix/client/v3/account/whoami", { token });
  return answer.status === 200 ? answer.body : answer.body.errcode;
}

/** A client with tokens, which refreshes them by itself. */
export async function start(state, { auth }, tokens) {
  const who = await whoami(state, tokens.access_token);
  assert.equal(who.device_id, auth.context.deviceId);
  const session = { userId: who.user_id, deviceId: who.device_id, accessToken: tokens.access_token };
  const device = new Device(state.url, session);
  device.refreshed = [];
  return device.start({ refreshToken: tokens.refresh_token, oauthClientId: state.clientId, onTokenRefresh: (next) => device.refreshed.push(next) });
}

export const fillIn = (visitor, name, password = PASSWORD) => visitor.fillIn(name, password);

export async function tokensOf(state, options) {
  const asked = await ask(state, state.visitor, options);
  await allow(state.visitor);
  const tokens = await exchange(state, asked, await answer(state, state.visitor, asked));
  return { auth: asked.auth, tokens };
}

export const allow = (visitor) => visitor.page.click("button[value=allow]");

/** Exchanges a code; gives tokens. */
export function exchange(state, { auth }, fields) {
  assert.ok(fields.get("code"), fields.toString());
  return auth.completeAuthorizationCodeGrant(fields.get("code"), state.back);
}

/** Whether an OAuth endpoint refused, and how. */
export function refusal(code) {
  return (error) => {
    assert.deepEqual([error.httpStatus, error.error], [400, code], String(error));
    return true;
  };
}
