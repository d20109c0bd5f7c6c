// Encryption as people use it, with matrix-js-sdk: Alice has a phone, a laptop and later a tablet, Bob a phone.
//
//   node tests/stock/js-sdk/encryption.mjs URL [--bobs URL] [--restart]
//
// Runs against any homeserver with open registration. Prints a line for every step that held, and ends with status 1 at the first
// that does not.
// --bobs     the homeserver where Bob is; Alice's, where it is left out
// --restart  prints "restart", and waits for a line on its standard input, which says that the server was killed and started again

import assert from "node:assert/strict";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { EventType } from "matrix-js-sdk";
import { Device, call, complain, eventually, fresh, play, register, verify, withPassword } from "./party.mjs";

const STEPS = [sign_up, set_up_cross_signing, verify_the_laptop, make_an_encrypted_room, talk, verify_each_other, back_up, restore_on_a_tablet, talk_on_all, resume, survive_a_restart, find_new_devices, log_out, replace_the_identity];

/** Alice on two devices, Bob on one: logged in with their passwords. */
async function sign_up(state) {
  const { url, bobsUrl } = state;
  state.alice = await register(url, fresh("alice"));
  state.bob = await register(bobsUrl, fresh("bob"));
  state.vault = {};
  state.phone = await (await Device.logIn(url, state.alice, "Alice's phone", state.vault)).start();
  state.bobs = await (await Device.logIn(bobsUrl, state.bob, "Bob's phone")).start();
  for (const device of [state.phone, state.bobs]) {
    const keys = await device.crypto.getOwnDeviceKeys();
    assert.ok(keys.ed25519 && keys.curve25519);
    await eventually("one-time keys on the server", async () => (await device.oneTimeKeys()) >= 50);
  }
}

/** The phone makes the identity, the secret storage and a key backup. First keys need no password. */
async function set_up_cross_signing(state) {
  const { phone, bobs, alice, bob } = state;
  for (const [device, user] of [[phone, alice], [bobs, bob]]) {
    const asked = { count: 0 };
    await device.crypto.bootstrapCrossSigning({ authUploadDeviceSigningKeys: withPassword(user, asked) });
    assert.equal(asked.count, 0, "a password was asked for");
    assert.ok(await device.crypto.getCrossSigningKeyId());
  }
  await phone.crypto.bootstrapSecretStorage({
    createSecretStorageKey: () => phone.crypto.createRecoveryKeyFromPassphrase(),
    setupNewSecretStorage: true,
    setupNewKeyBackup: true,
  });
  assert.ok(state.vault.key, "the key of the secret storage was not handed out");
  assert.ok(await phone.crypto.isCrossSigningReady());
  assert.ok(await phone.crypto.isSecretStorageReady());
  assert.ok(await phone.crypto.getActiveSessionBackupVersion());
  assert.ok(await phone.trusts(alice, phone.deviceId));
}

/** A second device is verified by emoji. Then each trusts the other, and the laptop has been given the secrets. */
async function verify_the_laptop(state) {
  const { url, alice, phone } = state;
  const laptop = await (await Device.logIn(url, alice, "Alice's laptop")).start();
  state.laptop = laptop;
  assert.ok(!(await laptop.trusts(alice, laptop.deviceId)));
  await eventually("the laptop in the phone's list of devices", async () => (await phone.crypto.getUserDeviceInfo([alice])).get(alice)?.has(laptop.deviceId));
  await verify(laptop, phone, () => laptop.crypto.requestOwnUserVerification());
  for (const [one, other] of [[phone, laptop], [laptop, phone]]) {
    await eventually("trust in the other device", () => one.trusts(alice, other.deviceId));
  }
  await eventually("the private keys on the laptop", () => laptop.crypto.isCrossSigningReady());
  await eventually("the backup's key on the laptop", () => laptop.crypto.getSessionBackupPrivateKey());
  await eventually("the backup in use on the laptop", () => laptop.crypto.getActiveSessionBackupVersion());
}

async function make_an_encrypted_room(state) {
  const { phone, bobs, laptop, alice, bob } = state;
  const encryption = { type: EventType.RoomEncryption, state_key: "", content: { algorithm: "m.megolm.v1.aes-sha2" } };
  const { room_id: roomId } = await phone.client.createRoom({ preset: "private_chat", name: "Two for dinner", invite: [bob], initial_state: [encryption] });
  state.roomId = roomId;
  await bobs.accept(roomId);
  for (const device of [phone, laptop, bobs]) {
    await device.sees(roomId, alice, bob);
    await eventually("the room's encryption", () => device.crypto.isEncryptionEnabledInRoom(roomId));
  }
}

/** Both ways; what Alice says on one device she reads on the other. */
async function talk({ phone, laptop, bobs, roomId }, round = "") {
  const lines = [[phone, `Hungry? ${round}`], [bobs, `Always. Grüße 🍝 ${round}`], [laptop, `At eight, then. ${round}`]];
  for (const [sender, text] of lines) {
    const eventId = await sender.say(roomId, text);
    for (const reader of [phone, laptop, bobs]) await reader.reads(roomId, eventId, text);
  }
}

/** Alice and Bob verify each other in the room, and her laptop knows it from her phone's signature. */
async function verify_each_other({ phone, laptop, bobs, alice, bob, roomId }) {
  await verify(phone, bobs, () => phone.crypto.requestVerificationDM(bob, roomId));
  const verified = async (device, user) => (await device.crypto.getUserVerificationStatus(user)).isCrossSigningVerified();
  await eventually("Bob verified on the phone", () => verified(phone, bob));
  await eventually("Alice verified at Bob's", () => verified(bobs, alice));
  await eventually("Bob verified on the laptop", () => verified(laptop, bob));
  await eventually("Bob's device trusted on the laptop", () => laptop.trusts(bob, bobs.deviceId));
}

/** Every key that Alice's devices have reaches the backup. */
async function back_up(state) {
  const { url, phone } = state;
  const keys = await phone.crypto.exportRoomKeys();
  assert.ok(keys.length >= 3, `${keys.length} keys`);
  const backup = await eventually("all keys in the backup", async () => {
    const { body } = await call(url, "GET", "/_matrix/client/v3/room_keys/version", { token: phone.session.accessToken });
    return body.count === keys.length ? body : undefined;
  });
  assert.equal(backup.version, await phone.crypto.getActiveSessionBackupVersion());
  state.backedUp = keys.length;
}

/** A third device comes with nothing but the recovery key: it verifies itself, gets the backup's key, and reads what was said. */
async function restore_on_a_tablet(state) {
  const { url, alice, phone, laptop, vault, roomId } = state;
  const events = phone.timeline(roomId).filter((event) => event.isEncrypted() && event.getType() === EventType.RoomMessage && event.getContent().msgtype === "m.text");
  assert.ok(events.length >= 3, `${events.length} messages`);
  const tablet = await (await Device.logIn(url, alice, "Alice's tablet", {})).start();
  state.tablet = tablet;
  for (const event of events) await tablet.cannotRead(roomId, event.getId());
  // Now its owner types the recovery key in.
  Object.assign(tablet.vault, vault);
  assert.ok(await tablet.crypto.userHasCrossSigningKeys(alice, true));
  await tablet.crypto.bootstrapCrossSigning({});
  assert.ok(await tablet.crypto.isCrossSigningReady());
  await tablet.crypto.loadSessionBackupPrivateKeyFromSecretStorage();
  await tablet.crypto.checkKeyBackupAndEnable();
  const restored = await tablet.crypto.restoreKeyBackup();
  assert.deepEqual([restored.total, restored.imported], [state.backedUp, state.backedUp]);
  for (const event of events) await tablet.reads(roomId, event.getId(), event.getContent().body);
  for (const device of [phone, laptop]) {
    await eventually("trust in the tablet", () => device.trusts(alice, tablet.deviceId));
  }
}

async function talk_on_all(state) {
  await talk({ ...state, laptop: state.tablet }, "(again)");
}

/** The laptop is closed and opened again: it goes on where it was, and reads what was said meanwhile, once. */
async function resume(state) {
  const { laptop, bobs, phone, roomId } = state;
  await laptop.stop();
  const missed = [];
  for (const text of ["Are you coming?", "The table is ready", "We have ordered"]) missed.push([await bobs.say(roomId, text), text]);
  missed.push([await phone.say(roomId, "On my way"), "On my way"]);
  laptop.since = [];
  await laptop.start();
  assert.ok(laptop.since[0], "it began with an initial sync");
  for (const [eventId, text] of missed) {
    await laptop.reads(roomId, eventId, text);
    assert.equal(laptop.timeline(roomId).filter((event) => event.getId() === eventId).length, 1);
  }
  assert.ok(await laptop.trusts(laptop.userId, phone.deviceId), "it has forgotten whom it trusts");
}

/** The server is killed under everybody. Their clients go on from where they were, and new keys find their way. */
async function survive_a_restart(state) {
  const { phone, laptop, bobs, alice, roomId } = state;
  for (const device of [phone, laptop, bobs]) device.since = [];
  console.log("restart");
  await once(createInterface({ input: process.stdin }), "line");
  await bobs.crypto.forceDiscardSession(roomId);
  await talk(state, "(after the restart)");
  for (const device of [phone, laptop, bobs]) assert.ok(device.since.length > 0 && device.since.every(Boolean), "an initial sync");
  assert.ok(await phone.trusts(alice, laptop.deviceId));
}

/** Bob's second device is told of by `device_lists`, and gets the keys of what is said from then on. */
async function find_new_devices(state) {
  const { bobsUrl, bob, phone, roomId } = state;
  const watch = await (await Device.logIn(bobsUrl, bob, "Bob's watch")).start();
  state.watch = watch;
  await eventually("Bob's watch in Alice's list", async () => (await phone.crypto.getUserDeviceInfo([bob])).get(bob)?.has(watch.deviceId));
  await watch.sees(roomId, bob);
  const eventId = await phone.say(roomId, "Look at your watch");
  await watch.reads(roomId, eventId, "Look at your watch");
  await state.bobs.reads(roomId, eventId, "Look at your watch");
}

/** A device that is logged out is gone from everybody's lists. */
async function log_out(state) {
  const { url, alice, bobs, phone, tablet } = state;
  await tablet.client.logout(true);
  const who = await call(url, "GET", "/_matrix/client/v3/account/whoami", { token: tablet.session.accessToken });
  assert.deepEqual([who.status, who.body.errcode], [401, "M_UNKNOWN_TOKEN"]);
  for (const device of [bobs, phone]) {
    await eventually("a list without the tablet", async () => !(await device.crypto.getUserDeviceInfo([alice])).get(alice)?.has(tablet.deviceId));
  }
  delete state.tablet;
}

/** Another identity in place of the first takes the password, and others are told. */
async function replace_the_identity({ phone, bobs, alice }) {
  const asked = { count: 0 };
  await phone.crypto.bootstrapCrossSigning({ setupNewCrossSigning: true, authUploadDeviceSigningKeys: withPassword(alice, asked) });
  assert.equal(asked.count, 1, "no password was asked for");
  await eventually("Alice not verified any more", async () => {
    const status = await bobs.crypto.getUserVerificationStatus(alice);
    return status.wasCrossSigningVerified() && !status.isCrossSigningVerified();
  });
}

const { values, positionals } = parseArgs({ allowPositionals: true, options: { bobs: { type: "string" }, restart: { type: "boolean" } } });
const [url] = positionals.map((address) => address.replace(/\/$/, ""));
if (!url) {
  complain("usage: encryption.mjs URL [--bobs URL] [--restart]");
  process.exit(2);
}
const steps = STEPS.filter((step) => values.restart || step !== survive_a_restart);
await play(steps, { url, bobsUrl: values.bobs?.replace(/\/$/, "") ?? url });
