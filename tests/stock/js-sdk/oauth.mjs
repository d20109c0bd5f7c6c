// The OAuth 2.0 API, with matrix-js-sdk as the app and a browser for the pages: metadata, registration, codes with PKCE, tokens,
// refresh, revocation, devices without a browser.
//
//   node tests/stock/js-sdk/oauth.mjs URL --provider JSON [--out FOLDER]
//
// URL is a CliquePay server that was configured for the provider (browser/logins/provider.mjs; JSON is what that prints). Prints a line
// for every step that held, and ends with status 1 at the first that does not. FOLDER gets pictures.

import assert from "node:assert/strict";
import { once } from "node:events";
import http from "node:http";
import { parseArgs } from "node:util";
import { createClient } from "matrix-js-sdk";
import { OAuth2 } from "matrix-js-sdk/lib/oauth/index.js";
import { World } from "../../browser/logins/site.mjs";
import { allow, answer, ask, exchange, fillIn, refusal, start, tokensOf, whoami } from "./app.mjs";
import { PASSWORD, call, complain, eventually, fresh, logger, play, register, verify, withPassword } from "./party.mjs";

const STEPS = [
  discover,
  register_the_app,
  log_in_with_a_password,
  be_asked_once_a_browser,
  log_in_through_the_provider,
  make_an_account,
  say_no,
  go_nowhere_else,
  insist_on_pkce,
  use_a_code_once,
  refresh,
  lose_an_answer,
  reuse_a_refresh_token,
  refresh_by_itself,
  not_in_a_frame,
  for_everybody,
  log_a_television_in,
  confirm_on_the_account_page,
  look_at_the_account,
  log_out,
];

const UNSTABLE = "urn:matrix:org.matrix.msc2967.client";

/** What the SDK makes of the server's metadata; the unstable path has the same. */
async function discover(state) {
  state.metadata = await createClient({ baseUrl: state.url, logger }).getAuthMetadata();
  for (const path of ["v1/auth_metadata", "unstable/org.matrix.msc2965/auth_metadata"]) {
    const answer = await call(state.url, "GET", `/_matrix/client/${path}`);
    assert.deepEqual([answer.status, answer.body.issuer], [200, state.metadata.issuer], path);
  }
  assert.ok(state.metadata.grant_types_supported.includes("urn:ietf:params:oauth:grant-type:device_code"));
}

/** An app on this machine, as a desktop program is: it listens on a port of its own for the answer. */
async function register_the_app(state) {
  const server = http.createServer((_request, response) => response.writeHead(200, { "content-type": "text/html" }).end("<title>The app</title><h1>The app</h1>"));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  state.back = `http://127.0.0.1:${server.address().port}/callback`;
  state.app = {
    client_name: "Test messenger",
    "client_name#de": "Testbote",
    client_uri: "https://messenger.example.org/",
    policy_uri: "https://messenger.example.org/privacy",
    application_type: "native",
    redirect_uris: ["http://127.0.0.1/callback"],
  };
  state.clientId = await OAuth2.registerClient(state.metadata, state.app, logger);
  assert.ok(state.clientId);
  const bad = { ...state.app, redirect_uris: ["http://evil.example.org/callback"] };
  await assert.rejects(OAuth2.registerClient(state.metadata, bad, logger));
}

/** A name and a password on the server's page, the question whether the app may in, and a client with encryption. */
async function log_in_with_a_password(state) {
  state.alice = await register(state.url, fresh("alice"));
  const visitor = await state.world.visitor();
  state.visitor = visitor;
  const asked = await ask(state, visitor);
  await visitor.shows("Log in");
  await visitor.picture("21-log-in");
  await fillIn(visitor, state.alice, "not the password");
  await visitor.page.getByRole("alert").waitFor();
  assert.equal(visitor.answer.status(), 403);
  await fillIn(visitor, "nobody-is-called-that");
  await visitor.page.getByRole("alert").waitFor();
  await visitor.picture("22-wrong-password");
  await fillIn(visitor, state.alice.slice(1).split(":")[0]);
  const text = await visitor.shows("Let this app in?", { words: ["Test messenger", state.alice, "messenger.example.org"] });
  assert.ok(text.includes("127.0.0.1"), "the place that the answer goes to");
  await visitor.picture("23-consent");
  await allow(visitor);
  const tokens = await exchange(state, asked, await answer(state, visitor, asked));
  assert.ok(tokens.refresh_token && tokens.expires_in > 0, JSON.stringify(tokens));
  assert.ok(tokens.scope === undefined || tokens.scope.includes(asked.auth.context.deviceId), tokens.scope);
  state.phone = await start(state, asked, tokens);
  await state.phone.crypto.bootstrapCrossSigning({ authUploadDeviceSigningKeys: withPassword(state.alice) });
  assert.ok(await state.phone.crypto.isCrossSigningReady());
}

/** The next app in the same browser is asked for all the same, without the password. Unstable scopes, the answer in the query. */
async function be_asked_once_a_browser(state) {
  const { visitor, phone } = state;
  const asked = await ask(state, visitor, { mode: "query", scope: (deviceId) => `openid ${UNSTABLE}:api:* ${UNSTABLE}:device:${deviceId}` });
  await visitor.shows("Let this app in?");
  await allow(visitor);
  const tokens = await exchange(state, asked, await answer(state, visitor, asked));
  const laptop = await start(state, asked, tokens);
  state.laptop = laptop;
  assert.equal(laptop.userId, phone.userId);
  await eventually("the laptop in the phone's list", async () => (await phone.crypto.getUserDeviceInfo([laptop.userId])).get(laptop.userId)?.has(laptop.deviceId));
  await verify(laptop, phone, () => laptop.crypto.requestOwnUserVerification());
  await eventually("trust", () => phone.trusts(laptop.userId, laptop.deviceId));
}

/** Somebody new, by way of Cognito: its page, the name, the question, the app. In German. */
async function log_in_through_the_provider(state) {
  const visitor = await state.world.visitor({ language: "de", colorScheme: "dark" });
  const asked = await ask(state, visitor);
  await visitor.shows("Anmelden");
  await visitor.picture("24-log-in-de");
  await visitor.page.getByRole("link", { name: "Mit Example accounts anmelden" }).click();
  await visitor.signIn("google_456");
  await visitor.shows("Willkommen");
  const name = fresh("dora");
  await visitor.name(name);
  await visitor.shows("Diese App hereinlassen?", { words: ["Testbote", `@${name}:`] });
  await visitor.picture("25-consent-de");
  await allow(visitor);
  const tokens = await exchange(state, asked, await answer(state, visitor, asked));
  const device = await start(state, asked, tokens);
  assert.equal(device.userId.split(":")[0], `@${name}`);
  await device.client.logout(true);
  await visitor.close();
}

/** `prompt=create` leads to the page for a new account. */
async function make_an_account(state) {
  assert.ok(state.metadata.prompt_values_supported.includes("create"));
  const visitor = await state.world.visitor();
  const asked = await ask(state, visitor, { prompt: "create" });
  await visitor.shows("Create account");
  await visitor.picture("26-create");
  const name = fresh("ida");
  await visitor.page.fill("[name=localpart]", name);
  await visitor.page.fill("[name=password]", PASSWORD);
  await visitor.page.click("button[type=submit]");
  await visitor.shows("Let this app in?", { words: [`@${name}:`] });
  await allow(visitor);
  const tokens = await exchange(state, asked, await answer(state, visitor, asked));
  assert.equal((await whoami(state, tokens.access_token)).user_id.split(":")[0], `@${name}`);
  await visitor.close();
}

async function say_no(state) {
  const asked = await ask(state, state.visitor);
  await state.visitor.page.click("button[value=deny]");
  const fields = await answer(state, state.visitor, asked);
  assert.deepEqual([fields.get("error"), fields.get("code")], ["access_denied", null]);
}

/** An address that was not registered gets nothing, not even an error. */
async function go_nowhere_else(state) {
  const { visitor } = state;
  for (const change of [
    (query) => query.set("redirect_uri", "https://evil.example.org/callback"),
    (query) => query.set("redirect_uri", `${state.back}/more`),
    (query) => query.set("redirect_uri", state.back.replace("127.0.0.1", "127.0.0.1.evil.example.org")),
    (query) => query.set("client_id", "nobody"),
  ]) {
    const auth = new OAuth2(state.metadata, { clientId: state.clientId }, logger);
    const url = new URL(await auth.generateAuthorizationCodeGrantUrl("state", state.back));
    change(url.searchParams);
    const answer = await visitor.page.goto(url.href);
    assert.equal(answer.status(), 400, url.href);
    assert.equal(new URL(visitor.page.url()).origin, state.url);
  }
  await visitor.picture("27-bad-request");
}

/** A code without a challenge, or with one that is the verifier itself, could be stolen. */
async function insist_on_pkce(state) {
  for (const change of [
    (query) => ["code_challenge", "code_challenge_method"].forEach((name) => query.delete(name)),
    (query) => query.set("code_challenge_method", "plain"),
    (query) => query.delete("code_challenge_method"),
  ]) {
    const auth = new OAuth2(state.metadata, { clientId: state.clientId }, logger);
    const url = new URL(await auth.generateAuthorizationCodeGrantUrl("a state", state.back));
    change(url.searchParams);
    await state.visitor.page.goto(url.href);
    const fields = await answer(state, state.visitor, { secret: "a state", mode: "fragment" });
    assert.deepEqual([fields.get("error"), fields.get("code")], ["invalid_request", null]);
  }
}

/** A verifier that is another's gets nothing; a code that comes twice ends what it gave. */
async function use_a_code_once(state) {
  const asked = await ask(state, state.visitor);
  await allow(state.visitor);
  const fields = await answer(state, state.visitor, asked);
  const thief = new OAuth2(state.metadata, { clientId: state.clientId }, logger);
  await assert.rejects(thief.completeAuthorizationCodeGrant(fields.get("code"), state.back), refusal("invalid_grant"));
  const tokens = await exchange(state, asked, fields);
  assert.equal((await whoami(state, tokens.access_token)).user_id, state.alice);
  await assert.rejects(exchange(state, asked, fields), refusal("invalid_grant"));
  assert.equal(await whoami(state, tokens.access_token), "M_UNKNOWN_TOKEN");
}

async function refresh(state) {
  const { auth, tokens } = await tokensOf(state);
  const next = await auth.performRefreshTokenGrant(tokens.refresh_token);
  assert.notEqual(next.access_token, tokens.access_token);
  assert.notEqual(next.refresh_token, tokens.refresh_token);
  const who = await whoami(state, next.access_token);
  assert.deepEqual([who.user_id, who.device_id], [state.alice, auth.context.deviceId]);
  const stranger = new OAuth2(state.metadata, { clientId: "nobody" }, logger);
  await assert.rejects(stranger.performRefreshTokenGrant(next.refresh_token));
  await auth.revokeToken(next.refresh_token);
  assert.equal(await whoami(state, next.access_token), "M_UNKNOWN_TOKEN");
}

/** An answer that never came: the app tries again with what it has. */
async function lose_an_answer(state) {
  const { auth, tokens } = await tokensOf(state);
  await auth.performRefreshTokenGrant(tokens.refresh_token);
  const next = await auth.performRefreshTokenGrant(tokens.refresh_token);
  assert.equal((await whoami(state, next.access_token)).user_id, state.alice);
  await auth.revokeToken(next.access_token);
}

/** Once the next token was used, the one before is somebody else's: all of them end. */
async function reuse_a_refresh_token(state) {
  const { auth, tokens } = await tokensOf(state);
  const second = await auth.performRefreshTokenGrant(tokens.refresh_token);
  const third = await auth.performRefreshTokenGrant(second.refresh_token);
  assert.equal((await whoami(state, third.access_token)).user_id, state.alice);
  await assert.rejects(auth.performRefreshTokenGrant(tokens.refresh_token), refusal("invalid_grant"));
  assert.equal(await whoami(state, third.access_token), "M_UNKNOWN_TOKEN");
  await assert.rejects(auth.performRefreshTokenGrant(third.refresh_token), refusal("invalid_grant"));
}

/** A client whose access token runs out goes on with another, and nobody notices. */
async function refresh_by_itself(state) {
  const { phone } = state;
  await eventually("a refresh", () => phone.refreshed.length > 0, 120_000);
  const { room_id: roomId } = await phone.client.createRoom({ name: "After the refresh" });
  await eventually("the room on the laptop", () => state.laptop.client.getRoom(roomId));
}

async function not_in_a_frame(state) {
  const visitor = await state.world.visitor({ scripts: true });
  await ask(state, visitor);
  await fillIn(visitor, state.alice);
  await visitor.shows("Let this app in?");
  const question = visitor.page.url();
  await visitor.page.goto(state.world.trusted);
  await visitor.page.evaluate((src) => document.body.append(Object.assign(document.createElement("iframe"), { src })), question);
  await eventually("the frame's end", () => visitor.page.frames().some((frame) => frame.url().startsWith("chrome-error:")));
  await visitor.close();
}

/** Every page, looked at by axe. */
async function for_everybody(state) {
  for (const [language, colorScheme] of [["en", "light"], ["de", "dark"]]) {
    const visitor = await state.world.visitor({ language, colorScheme, scripts: true });
    await ask(state, visitor, { prompt: "create" });
    await visitor.isAccessible();
    await ask(state, visitor);
    await visitor.isAccessible();
    await fillIn(visitor, state.alice, "wrong");
    await visitor.page.getByRole("alert").waitFor();
    await visitor.isAccessible();
    await fillIn(visitor, state.alice);
    await visitor.page.locator("button[value=allow]").waitFor();
    await visitor.isAccessible();
    for (const action of ["profile", "devices_list", "account_deactivate", "cross_signing_reset"]) {
      await visitor.page.goto(`${state.metadata.account_management_uri}?action=org.matrix.${action}`);
      await visitor.isAccessible();
      await visitor.picture(`33-account-${action}-${language}`);
    }
    await visitor.close();
  }
}

/** A device without a browser shows a code, which its owner enters in another. */
async function log_a_television_in(state) {
  const { visitor } = state;
  for (const decision of ["deny", "allow"]) {
    const auth = new OAuth2(state.metadata, { clientId: state.clientId }, logger);
    const session = await auth.startDeviceAuthorizationGrant();
    const waiting = auth.waitForDeviceAuthorizationGrant(session);
    await visitor.page.goto(decision === "allow" ? session.verification_uri_complete : session.verification_uri);
    await visitor.shows("Log a device in");
    if (decision === "deny") await visitor.page.fill("[name=user_code]", session.user_code.toLowerCase());
    await visitor.picture(`28-code-${decision}`);
    await visitor.page.click("button[type=submit]");
    await visitor.shows("Let this app in?", { words: [session.user_code] });
    await visitor.page.click(`button[value=${decision}]`);
    await visitor.page.getByText("You can close this page").waitFor();
    await visitor.picture(`29-device-${decision}`);
    const answer = await waiting;
    if (decision === "deny") {
      assert.equal(answer.error, "access_denied");
    } else {
      assert.deepEqual(await whoami(state, answer.access_token).then((who) => [who.user_id, who.device_id]), [state.alice, auth.context.deviceId]);
      await auth.revokeToken(answer.access_token, "access_token");
    }
  }
}

/** Another identity in place of the first is allowed on the account's page, and by nothing else. */
async function confirm_on_the_account_page(state) {
  const { phone, visitor } = state;
  const first = await phone.crypto.getCrossSigningKeyId();
  await phone.crypto.bootstrapCrossSigning({
    setupNewCrossSigning: true,
    authUploadDeviceSigningKeys: async (makeRequest) => {
      const asked = await makeRequest(null).then(() => assert.fail("nothing was asked"), (error) => error);
      assert.equal(asked.httpStatus, 401, String(asked));
      const { session, flows, params } = asked.data;
      assert.ok(flows.some(({ stages }) => stages.length === 1 && stages[0] === "m.oauth"), JSON.stringify(flows));
      const early = await makeRequest({ session }).then(() => assert.fail("it was not waited for"), (error) => error);
      assert.equal(early.httpStatus, 401, String(early));
      await visitor.page.goto(params["m.oauth"].url);
      await visitor.picture("32-reset");
      await visitor.page.click("main form button[type=submit]");
      await visitor.shows("Confirmed");
      return makeRequest({ session });
    },
  });
  assert.notEqual(await phone.crypto.getCrossSigningKeyId(), first);
}

/** The account's own page shows the devices, and what of them. */
async function look_at_the_account(state) {
  const { account_management_uri: uri, account_management_actions_supported: actions } = state.metadata;
  const { visitor, laptop } = state;
  await visitor.page.goto(uri);
  await visitor.picture("30-account");
  assert.equal(visitor.answer.status(), 200);
  assert.ok(actions.includes("org.matrix.device_view"), String(actions));
  await visitor.page.goto(`${uri}?action=org.matrix.device_view&device_id=${encodeURIComponent(laptop.deviceId)}`);
  assert.ok((await visitor.page.innerText("main")).includes(laptop.deviceId));
  await visitor.picture("31-account-device");
}

/** Logging out revokes; the device is gone. */
async function log_out(state) {
  const { phone, laptop, alice } = state;
  const token = laptop.client.getAccessToken();
  await laptop.client.logout(true);
  assert.equal(await whoami(state, token), "M_UNKNOWN_TOKEN");
  const { devices } = await phone.client.getDevices();
  assert.ok(devices.every(({ device_id: id }) => id !== laptop.deviceId), "the device is still there");
  await eventually("a list without the laptop", async () => !(await phone.crypto.getUserDeviceInfo([alice])).get(alice)?.has(laptop.deviceId));
}

const { values, positionals } = parseArgs({ allowPositionals: true, options: { out: { type: "string" }, provider: { type: "string" } } });
const [address] = positionals;
if (!address || !values.provider) {
  complain("usage: oauth.mjs URL --provider JSON [--out FOLDER]");
  process.exit(2);
}
const url = address.replace(/\/$/, "");
await play(STEPS, { url, world: await new World(url, JSON.parse(values.provider), values.out).begin() });
