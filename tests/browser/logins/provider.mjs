// An OpenID Connect provider in the shape of Amazon Cognito, for tests on one machine. A certified provider (npm oidc-provider) does
// the protocol; what Cognito does in ways of its own is done here:
// the issuer and its keys at one host, everything else at another; a discovery document that says little; tokens with Cognito's
// claims, the two kinds signed by keys of their own whose ids are base64; `email_verified` as a text in userinfo; a refresh token that
// stays the same; no `iss` in the answer to the browser; a logout of its own.
//
//   node tests/browser/logins/provider.mjs --site URL [--site URL …]
//
// Knows the homeservers at these URLs, CliquePay or Synapse, and has a place for clients to come back to (`app`). Prints one line of JSON when it is there, and ends with its standard
// input. POST <issuer host>/control takes JSON: { "fault": NAME } for the next exchange of a code, { "disable": USER }, { "enable": USER },
// { "groups": { USER: [...] } }, { "rotate": true }, { "mint": USER, "fault": NAME? } for a fresh ID token. GET tells how often what was called.

import { createHash, createHmac, createPublicKey, generateKeyPairSync, randomBytes, randomUUID, sign } from "node:crypto";
import { once } from "node:events";
import http from "node:http";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import Provider from "oidc-provider";
import { FAULTS } from "./faults.mjs";

const POOL = "eu-test-1_AbCdEfGhI";
const CLIENT_ID = "1example23456789";
const CLIENT_SECRET = "the-secret-of-the-app-client";
export const PASSWORD = "Passw0rd!";
const HOUR = 3600;

/** Cognito's users: some have names, one signed up with an address, one came from Google. */
function makeUsers() {
  const user = (number, more) => ({ sub: `11111111-aaaa-4bbb-8ccc-${String(number).padStart(12, "0")}`, groups: [], enabled: true, ...more });
  return {
    ann: user(1, { email: "ann@example.org", name: "Ann Example", groups: ["cliquepay-admin"] }),
    ben: user(2, { email: "ben@example.org", name: "Ben <b>Example</b>" }),
    carla: user(3, { email: "carla@example.org", name: "Carla" }),
    eve: user(4, { email: "ann@example.org", name: "Ann Example" }),
    google_123: user(5, { email: "dora@example.org" }),
    "22222222-aaaa-4bbb-8ccc-000000000006": user(6, { email: "emil@example.org" }),
    fred: user(7, { email: "fred@example.org" }),
    gina: user(8, { email: "gina@example.org" }),
    hanna: user(11, { email: "hanna@example.org", name: "Hanna" }),
    // Whoever logs in in another scenario is no newcomer in the next one: these two are theirs.
    benno: user(9, { email: "benno@example.org", name: "Benno" }),
    google_456: user(10, { email: "dorothea@example.org" }),
  };
}

const seconds = () => Math.floor(Date.now() / 1000);
const base64url = (value) => Buffer.from(typeof value === "string" || Buffer.isBuffer(value) ? value : JSON.stringify(value)).toString("base64url");

function makeKey() {
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  return { kid: randomBytes(32).toString("base64"), privateKey, publicKey: createPublicKey(privateKey) };
}

/** Makes tokens as Cognito does. */
class Mint {
  constructor(issuer) {
    Object.assign(this, { issuer, id: makeKey(), access: makeKey(), stranger: makeKey() });
  }

  rotate() {
    this.id = makeKey();
  }

  keys() {
    return [this.id, this.access].map(({ kid, publicKey }) => ({ ...publicKey.export({ format: "jwk" }), kid, alg: "RS256", use: "sig" }));
  }

  #rs256(header, claims, { privateKey }) {
    const input = `${base64url(header)}.${base64url(claims)}`;
    return `${input}.${base64url(sign("RSA-SHA256", Buffer.from(input), privateKey))}`;
  }

  #common(username, user) {
    const groups = user.groups.length ? { "cognito:groups": user.groups } : {};
    const iat = seconds();
    return { sub: user.sub, ...groups, iss: this.issuer, origin_jti: randomUUID(), event_id: randomUUID(), jti: randomUUID(), auth_time: iat, iat, exp: iat + HOUR };
  }

  accessToken(username, user, scope) {
    const claims = { ...this.#common(username, user), version: 2, client_id: CLIENT_ID, token_use: "access", scope, username };
    return this.#rs256({ kid: this.access.kid, alg: "RS256" }, claims, this.access);
  }

  /** An ID token, or what the fault makes of it; undefined where there is none. */
  idToken(username, user, { nonce, accessToken, fault }) {
    const claims = { ...this.#common(username, user), aud: CLIENT_ID, token_use: "id", "cognito:username": username, email: user.email, email_verified: true };
    if (user.name) claims.name = user.name;
    if (nonce) claims.nonce = nonce;
    if (accessToken) claims.at_hash = createHash("sha256").update(accessToken).digest().subarray(0, 16).toString("base64url");
    const draft = { header: { kid: this.id.kid, alg: "RS256" }, claims, sign: "id" };
    if (fault) FAULTS[fault](draft);
    const input = `${base64url(draft.header)}.${base64url(draft.claims)}`;
    switch (draft.sign) {
      case "nothing":
        return `${input}.`;
      case "public_key_as_secret":
        return `${input}.${base64url(createHmac("sha256", this.id.publicKey.export({ type: "spki", format: "pem" })).update(input).digest())}`;
      case "access_token":
        return accessToken ?? this.accessToken(username, user, "openid");
      case "leave_out":
        return undefined;
      default:
        return this.#rs256(draft.header, draft.claims, this[draft.sign]);
    }
  }
}

/** The protocol, by npm oidc-provider: codes, PKCE, refresh tokens, sessions, revocation. */
function makeProtocol(issuer, sites, users) {
  const named = Object.entries(users);
  const redirect_uris = sites.flatMap((site) => [`${site}/_cliquepay/login/callback/cognito`, `${site}/_synapse/client/oidc/callback`]);
  return new Provider(issuer, {
    clients: [{ client_id: CLIENT_ID, client_secret: CLIENT_SECRET, redirect_uris, response_types: ["code"], grant_types: ["authorization_code", "refresh_token"], token_endpoint_auth_method: "client_secret_basic" }],
    // Cognito takes PKCE and does not insist on it.
    pkce: { required: () => false },
    scopes: ["openid", "email", "phone", "profile"],
    claims: { openid: ["sub", "username"], email: ["email", "email_verified"], profile: ["name"] },
    routes: { authorization: "/oauth2/authorize", token: "/oauth2/token", userinfo: "/oauth2/userInfo", revocation: "/oauth2/revoke", jwks: "/unused/keys" },
    features: { devInteractions: { enabled: false }, revocation: { enabled: true }, rpInitiatedLogout: { enabled: false } },
    cookies: { keys: [randomUUID()], names: { session: "cognito", interaction: "cognito-login", resume: "cognito-resume" } },
    issueRefreshToken: () => true,
    rotateRefreshToken: false,
    ttl: { AccessToken: HOUR, AuthorizationCode: 300, IdToken: HOUR, RefreshToken: 30 * 24 * HOUR, Session: HOUR, Grant: 30 * 24 * HOUR, Interaction: HOUR },
    interactions: { url: (_ctx, interaction) => `/login?uid=${interaction.uid}` },
    // Nobody is asked to agree.
    loadExistingGrant: async ({ oidc }) => {
      const grant = new oidc.provider.Grant({ clientId: oidc.client.clientId, accountId: oidc.session.accountId });
      grant.addOIDCScope("openid email profile phone");
      await grant.save();
      return grant;
    },
    findAccount: async (_ctx, sub) => {
      const [username, user] = named.find(([, one]) => one.sub === sub) ?? [];
      if (!user?.enabled) return undefined;
      return { accountId: sub, claims: async () => ({ sub, username, email: user.email, email_verified: "true", name: user.name }) };
    },
  });
}

/** Puts Cognito's tokens in the place of the ones that were issued. */
function dressAsCognito(protocol, mint, users, state) {
  // Whoever asks with one of Cognito's access tokens is known by the one that was issued.
  const issued = new Map();
  protocol.use(async (ctx, next) => {
    const [, bearer] = /^Bearer (.+)$/.exec(ctx.get("authorization")) ?? [];
    if (issued.has(bearer)) ctx.req.headers.authorization = `Bearer ${issued.get(bearer)}`;
    await next();
    if (ctx.path === "/oauth2/token" && ctx.status === 200) {
      const { sub, nonce } = JSON.parse(Buffer.from(ctx.body.id_token.split(".")[1], "base64url"));
      const [username, user] = Object.entries(users).find(([, one]) => one.sub === sub);
      const accessToken = mint.accessToken(username, user, ctx.body.scope);
      issued.set(accessToken, ctx.body.access_token);
      const refreshing = ctx.oidc.params.grant_type === "refresh_token";
      const fault = refreshing ? undefined : state.fault;
      if (!refreshing) state.fault = undefined;
      const { expires_in, refresh_token } = ctx.body;
      const kept = refreshing ? {} : { refresh_token };
      ctx.body = { id_token: mint.idToken(username, user, { nonce, accessToken, fault }), access_token: accessToken, ...kept, expires_in, token_type: "Bearer" };
    }
    const place = ctx.response.get("location");
    if (/[?&](code|error)=/.test(place)) {
      const url = new URL(place);
      url.searchParams.delete("iss");
      ctx.set("location", url.href);
    }
  });
}

const html = (response, status, text) => response.writeHead(status, { "content-type": "text/html; charset=utf-8" }).end(`<!DOCTYPE html><html lang="en"><title>Sign in</title>${text}</html>`);
const json = (response, status, value) => response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(value));

async function read(request) {
  let text = "";
  for await (const part of request) text += part;
  return text;
}

const loginForm = (uid, problem = "") =>
  `<h1>Sign in with your user name and password</h1><p>${problem}</p><form method="post" action="/login?uid=${encodeURIComponent(uid)}">` +
  `<label>Username <input name="username" autocomplete="username"></label> <label>Password <input name="password" type="password"></label>` +
  ` <button name="answer" value="sign-in">Sign in</button> <button name="answer" value="cancel">Cancel</button></form>`;

/** The host of the pool's domain: people log in and out there, and servers exchange codes. */
function serveDomain(protocol, users, sites, calls) {
  const callback = protocol.callback();
  return async (request, response) => {
    const url = new URL(request.url, "http://domain");
    calls[url.pathname] = (calls[url.pathname] ?? 0) + 1;
    if (url.pathname === "/login") return logIn(protocol, users, url, request, response);
    if (url.pathname === "/logout") return logOut(sites, url, response);
    return callback(request, response);
  };
}

async function logIn(protocol, users, url, request, response) {
  const uid = url.searchParams.get("uid") ?? "";
  if (request.method === "GET") return html(response, 200, loginForm(uid));
  const form = new URLSearchParams(await read(request));
  if (form.get("answer") === "cancel") return protocol.interactionFinished(request, response, { error: "access_denied" });
  const user = Object.hasOwn(users, form.get("username")) ? users[form.get("username")] : undefined;
  if (!user || form.get("password") !== PASSWORD) return html(response, 200, loginForm(uid, "Incorrect username or password."));
  if (!user.enabled) return html(response, 200, loginForm(uid, "User is disabled."));
  return protocol.interactionFinished(request, response, { login: { accountId: user.sub } });
}

/** Cognito's logout: the client's id, and where to go then; nothing is asked. */
function logOut(sites, url, response) {
  const place = url.searchParams.get("logout_uri");
  const known = sites.some((site) => place === `${site}/_cliquepay/login/out`);
  if (url.searchParams.get("client_id") !== CLIENT_ID || !known) return html(response, 400, "<p>Required parameters missing</p>");
  const gone = ["cognito", "cognito.sig"].map((name) => `${name}=; Path=/; Max-Age=0; HttpOnly`);
  return response.writeHead(302, { location: place, "set-cookie": gone }).end();
}

/** The issuer's host: the discovery document and the keys, and the tests' control. */
function serveIssuer(mint, domain, users, state, calls) {
  return async (request, response) => {
    calls[request.url] = (calls[request.url] ?? 0) + 1;
    switch (request.url) {
      case `/${POOL}/.well-known/openid-configuration`:
        // As older pools have it: neither code_challenge_methods_supported nor grant_types_supported.
        return json(response, 200, {
          authorization_endpoint: `${domain}/oauth2/authorize`,
          end_session_endpoint: `${domain}/logout`,
          id_token_signing_alg_values_supported: ["RS256"],
          issuer: mint.issuer,
          jwks_uri: `${mint.issuer}/.well-known/jwks.json`,
          response_types_supported: ["code", "token"],
          revocation_endpoint: `${domain}/oauth2/revoke`,
          scopes_supported: ["openid", "email", "phone", "profile"],
          subject_types_supported: ["public"],
          token_endpoint: `${domain}/oauth2/token`,
          token_endpoint_auth_methods_supported: ["client_secret_basic", "client_secret_post"],
          userinfo_endpoint: `${domain}/oauth2/userInfo`,
        });
      case `/${POOL}/.well-known/jwks.json`:
        return json(response, 200, { keys: mint.keys() });
      case "/control":
        return json(response, 200, request.method === "POST" ? control(JSON.parse(await read(request)), mint, users, state) : calls);
      default:
        return json(response, 404, { message: "not found" });
    }
  };
}

function control(wish, mint, users, state) {
  if (wish.mint) return { id_token: mint.idToken(wish.mint, users[wish.mint], { fault: wish.fault, nonce: wish.nonce }) };
  if (wish.fault) state.fault = wish.fault;
  if (wish.rotate) mint.rotate();
  if (wish.disable) users[wish.disable].enabled = false;
  if (wish.enable) users[wish.enable].enabled = true;
  for (const [username, groups] of Object.entries(wish.groups ?? {})) users[username].groups = groups;
  return {};
}

/** Where clients come back to: whatever they are sent there with is in the address. */
async function serveApp(_request, response) {
  html(response, 200, "<h1>The app</h1>");
}

async function listen(handle, host) {
  const server = http.createServer((request, response) => {
    handle(request, response).catch((error) => {
      console.error(error);
      json(response, 500, { error: "server_error" });
    });
  });
  server.listen(0, host);
  await once(server, "listening");
  return `http://${host}:${server.address().port}`;
}

/** Starts it; gives what a server has to be configured with, and `control`. The hosts are sites of their own, to browsers as well. */
export async function startProvider(sites) {
  const users = makeUsers();
  const [state, calls] = [{}, {}];
  let handleIssuer, handleDomain;
  const issuerHost = await listen((...both) => handleIssuer(...both), "127.0.0.2");
  const domain = await listen((...both) => handleDomain(...both), "127.0.0.3");
  const app = await listen(serveApp, "127.0.0.4");
  const issuer = `${issuerHost}/${POOL}`;
  const mint = new Mint(issuer);
  const protocol = makeProtocol(issuer, sites, users);
  dressAsCognito(protocol, mint, users, state);
  protocol.on("server_error", (_ctx, error) => console.error(error));
  handleIssuer = serveIssuer(mint, domain, users, state, calls);
  handleDomain = serveDomain(protocol, users, sites, calls);
  return { issuer, domain, app, control: `${issuerHost}/control`, client_id: CLIENT_ID, client_secret: CLIENT_SECRET, password: PASSWORD };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({ options: { site: { type: "string", multiple: true } } });
  console.log(JSON.stringify(await startProvider(values.site ?? [])));
  process.stdin.resume();
  process.stdin.on("end", () => process.exit());
}
