// People with matrix-js-sdk: devices with the Rust cryptography in WebAssembly, and what the scenarios ask of them.

import "fake-indexeddb/auto";
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { ClientEvent, EventType, IndexedDBStore, MatrixEventEvent, MsgType, SyncState, createClient } from "matrix-js-sdk";
import { CryptoEvent, VerificationPhase, VerificationRequestEvent, VerifierEvent } from "matrix-js-sdk/lib/crypto-api/index.js";
import { VerificationMethod } from "matrix-js-sdk/lib/types.js";

export const PASSWORD = "a long enough password";
const PATIENCE_MS = 60_000;

/** Says what went wrong, to people. */
export const complain = console.error.bind(console);
// What the SDK tells is shown where SDK_LOG is set. It writes to the console, too, past every logger.
const show = process.env.SDK_LOG ? complain : () => {};
export const logger = { trace: show, debug: show, info: show, warn: show, error: show, getChild: () => logger };
for (const level of ["trace", "debug", "info", "warn", "error"]) console[level] = show;

/** A name that no other run uses. */
export function fresh(name) {
  return `${name}-${randomBytes(4).toString("hex")}`;
}

/** Looks until there is something to see, and gives it. */
export async function eventually(what, look, patience = PATIENCE_MS) {
  const end = Date.now() + patience;
  let last;
  while (Date.now() < end) {
    try {
      const found = await look();
      if (found) return found;
      last = undefined;
    } catch (error) {
      last = error;
    }
    await sleep(50);
  }
  throw new Error(`never came: ${what}`, { cause: last });
}

/** Settles with `promise`, or fails where that takes too long. */
export function within(what, promise, patience = PATIENCE_MS) {
  const limit = new AbortController();
  const late = sleep(patience, undefined, { signal: limit.signal }).then(() => {
    throw new Error(`never came: ${what}`);
  });
  late.catch(() => {});
  return Promise.race([promise, late]).finally(() => limit.abort());
}

/** One JSON request; gives status and body. */
export async function call(url, method, path, { token, body } = {}) {
  const headers = { "Content-Type": "application/json", ...(token ? { Authorization: `Bearer ${token}` } : {}) };
  const answer = await fetch(url + path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  return { status: answer.status, body: await answer.json().catch(() => ({})) };
}

/** Makes an account; gives its user id. */
export async function register(url, name) {
  const body = { username: name, password: PASSWORD, inhibit_login: true, auth: { type: "m.login.dummy" } };
  const answer = await call(url, "POST", "/_matrix/client/v3/register", { body });
  assert.equal(answer.status, 200, JSON.stringify(answer.body));
  return answer.body.user_id;
}

/** Logs in with a password; gives the session. */
export async function logIn(url, userId, name) {
  const answer = await createClient({ baseUrl: url, logger }).loginRequest({
    type: "m.login.password",
    identifier: { type: "m.id.user", user: userId },
    password: PASSWORD,
    initial_device_display_name: name,
  });
  assert.equal(answer.user_id, userId);
  return { userId, deviceId: answer.device_id, accessToken: answer.access_token };
}

/**
 * One device of somebody: a session, and the databases that outlive a client.
 * `vault` is what its owner remembers: the key of the secret storage, once there is one.
 */
export class Device {
  constructor(url, session, vault = {}) {
    Object.assign(this, { url, session, vault, since: [], requests: [] });
  }

  static async logIn(url, userId, name, vault) {
    return new Device(url, await logIn(url, userId, name), vault);
  }

  get userId() {
    return this.session.userId;
  }

  get deviceId() {
    return this.session.deviceId;
  }

  get crypto() {
    return this.client.getCrypto();
  }

  /** Starts a client on the device's databases, and waits until it has synced. `options` are for the client. */
  async start(options = {}) {
    const store = new IndexedDBStore({ indexedDB, dbName: `sync-${this.deviceId}` });
    this.client = createClient({
      baseUrl: this.url,
      ...this.session,
      store,
      logger,
      verificationMethods: [VerificationMethod.Sas],
      cryptoCallbacks: {
        getSecretStorageKey: async ({ keys }) => (this.vault.keyId in keys ? [this.vault.keyId, this.vault.key] : null),
        cacheSecretStorageKey: (keyId, _info, key) => Object.assign(this.vault, { keyId, key }),
      },
      fetchFn: (input, init) => this.#fetch(input, init),
      ...options,
    });
    await store.startup();
    await this.client.initRustCrypto({ cryptoDatabasePrefix: `crypto-${this.deviceId}` });
    this.client.on(CryptoEvent.VerificationRequestReceived, (request) => this.requests.push(request));
    const synced = new Promise((resolve, reject) => {
      this.client.on(ClientEvent.Sync, (state, _old, data) => {
        // From a store the SDK is "prepared" before it has asked the server.
        if (state === SyncState.Syncing || (state === SyncState.Prepared && !data?.fromCache)) resolve();
        if (state === SyncState.Error) reject(data?.error);
      });
    });
    await this.client.startClient({ initialSyncLimit: 30, lazyLoadMembers: true, pollTimeout: 10_000 });
    await within(`the first sync of ${this.userId}`, synced);
    // What others do to a device whose keys are still on their way is lost on any server.
    await eventually(`the keys of ${this.deviceId} on the server`, async () => (await this.oneTimeKeys()) > 0);
    return this;
  }

  /** How many one-time keys the server has. They come with the device's own. */
  async oneTimeKeys() {
    const { body } = await call(this.url, "POST", "/_matrix/client/v3/keys/upload", { token: this.client.getAccessToken(), body: {} });
    return body.one_time_key_counts?.signed_curve25519 ?? 0;
  }

  /** Remembers the tokens that syncs began from. */
  #fetch(input, init) {
    const url = new URL(input);
    if (url.pathname.endsWith("/sync")) this.since.push(url.searchParams.get("since"));
    return fetch(input, init);
  }

  /** Stops the client; what it knows is kept, as when an app is closed. */
  async stop() {
    await this.client.store.save(true);
    this.client.stopClient();
  }

  /** Whether this device finds another to be its owner's. */
  async trusts(userId, deviceId) {
    const status = await this.crypto.getDeviceVerificationStatus(userId, deviceId);
    return Boolean(status?.crossSigningVerified);
  }

  async say(roomId, body) {
    const { event_id: eventId } = await this.client.sendEvent(roomId, EventType.RoomMessage, { msgtype: MsgType.Text, body });
    return eventId;
  }

  /** The events of a room that the client has at hand. */
  timeline(roomId) {
    return this.client.getRoom(roomId)?.getLiveTimeline().getEvents() ?? [];
  }

  /** Waits until an event has come and is decrypted, and checks what it says and that the server was not told. */
  async reads(roomId, eventId, body) {
    const event = await eventually(`"${body}" for ${this.userId} on ${this.deviceId}`, () => {
      const found = this.timeline(roomId).find((one) => one.getId() === eventId);
      if (found?.isDecryptionFailure()) throw new Error(`${found.decryptionFailureReason}`);
      return found && !found.isBeingDecrypted() && found.getClearContent() ? found : undefined;
    });
    assert.equal(event.getContent().body, body);
    assert.equal(event.getWireType(), EventType.RoomMessageEncrypted);
    assert.ok(!JSON.stringify(event.getWireContent()).includes(body), "the server was told");
    return event;
  }

  /** Waits until an event has come that cannot be decrypted; gives the SDK's word for the reason. */
  async cannotRead(roomId, eventId) {
    const event = await eventually(`an event for ${this.deviceId}`, () => this.timeline(roomId).find((one) => one.getId() === eventId));
    if (event.isBeingDecrypted() || !event.isDecryptionFailure()) {
      await within("the end of a decryption", new Promise((resolve) => event.once(MatrixEventEvent.Decrypted, resolve)));
    }
    assert.ok(event.isDecryptionFailure(), "it could be read");
    return event.decryptionFailureReason;
  }

  /** Waits until everybody of a list has joined, as this client knows it. */
  async sees(roomId, ...userIds) {
    await eventually(`${userIds} in the room of ${this.userId}`, () => userIds.every((userId) => this.client.getRoom(roomId)?.getMember(userId)?.membership === "join"));
  }

  /** Waits for an invitation and accepts it. */
  async accept(roomId) {
    await eventually(`an invitation for ${this.userId}`, () => this.client.getRoom(roomId)?.getMyMembership() === "invite");
    await this.client.joinRoom(roomId);
    await this.sees(roomId, this.userId);
  }
}

/** Confirms with a password who it is, where the server asks. Gives whether it asked, in `asked.count`. */
export function withPassword(userId, asked = { count: 0 }) {
  return async (makeRequest) => {
    try {
      return await makeRequest(null);
    } catch (error) {
      if (error.httpStatus !== 401) throw error;
      asked.count += 1;
      const { session, flows } = error.data;
      assert.ok(flows.some(({ stages }) => stages.length === 1 && stages[0] === "m.login.password"), JSON.stringify(flows));
      return makeRequest({ type: "m.login.password", identifier: { type: "m.id.user", user: userId }, password: PASSWORD, session });
    }
  };
}

/** The two ends of a verification by emoji: both see the same, both say so. `ask` begins it and gives the one end. */
export async function verify(asking, asked, ask) {
  const known = asked.requests.length;
  const mine = await ask();
  const theirs = await eventually("a request to verify", () => asked.requests[known]);
  await theirs.accept();
  await phase(mine, VerificationPhase.Ready);
  const verifiers = [await mine.startVerification("m.sas.v1")];
  await phase(theirs, VerificationPhase.Started);
  verifiers.push(theirs.verifier);
  const shown = verifiers.map((verifier) => new Promise((resolve) => verifier.once(VerifierEvent.ShowSas, resolve)));
  const ends = verifiers.map((verifier) => verifier.verify());
  const done = Promise.all(ends);
  done.catch(() => {});
  const [one, other] = await within("the emoji", Promise.race([Promise.all(shown), done.then(() => assert.fail("no emoji"))]));
  assert.equal(one.sas.emoji.length, 7);
  assert.deepEqual(one.sas.emoji, other.sas.emoji);
  assert.deepEqual(one.sas.decimal, other.sas.decimal);
  await Promise.all([one.confirm(), other.confirm()]);
  await within("the end of the verification", done);
  for (const request of [mine, theirs]) await phase(request, VerificationPhase.Done);
}

function phase(request, wanted) {
  const reached = new Promise((resolve, reject) => {
    const look = () => {
      if (request.phase === VerificationPhase.Cancelled) reject(new Error(`cancelled: ${request.cancellationCode}`));
      if (request.phase >= wanted) resolve();
    };
    request.on(VerificationRequestEvent.Change, look);
    look();
  });
  return within(`phase ${VerificationPhase[wanted]}`, reached);
}

/** Runs a scenario's steps, prints one line for each that held, and ends the process with its verdict. */
export async function play(steps, state) {
  try {
    for (const step of steps) {
      await step(state);
      console.log(`ok  ${step.name}`);
    }
  } catch (error) {
    complain(error);
    process.exitCode = 1;
  }
  // The clients' long polls and timers end with the process.
  process.exit();
}
