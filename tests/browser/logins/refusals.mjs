// What is refused in a log-in through the provider, with a page that says so, and of which nothing is left. Steps of logins.mjs.

import assert from "node:assert/strict";
import { FAULTS } from "./faults.mjs";
import { REFUSED, call, eventually } from "./site.mjs";

/** What could be changed by a log-in that is refused. */
async function everything({ world, ann }) {
  const token = ann.session.accessToken;
  const [devices, who] = await Promise.all([
    call(world.url, "GET", "/_matrix/client/v3/devices", { token }),
    call(world.url, "GET", "/_matrix/client/v3/account/whoami", { token }),
  ]);
  assert.deepEqual([devices.status, who.status], [200, 200]);
  const free = await Promise.all(["carla", "gina", "google_123", "emil"].map((name) => world.isFree(name)));
  return { devices: devices.body.devices.map(({ device_id: id }) => id).sort(), who: who.body, free };
}

/** Somebody new and somebody with an account, each with every fault. */
export async function every_fault_is_refused(state) {
  const { world } = state;
  const before = await everything(state);
  assert.deepEqual(before.free, [true, true, true, true]);
  for (const fault of Object.keys(FAULTS)) {
    for (const username of ["carla", "ann"]) {
      const visitor = await world.visitor();
      await world.tell({ fault });
      await visitor.logIn(username);
      const status = fault === "no_id_token" ? 502 : 403;
      const words = fault === "no_id_token" ? "cannot be used at the moment" : "was not believed";
      await visitor.shows(REFUSED, { status, words: [words, "begin again"] });
      if (fault === "nonce") await visitor.picture(`11-refused-${username}`);
      await visitor.close();
    }
  }
  assert.deepEqual(await everything(state), before);
  const german = await world.visitor({ language: "de", colorScheme: "dark" });
  await world.tell({ fault: "aud" });
  await german.logIn("carla");
  await german.shows("Du bist nicht angemeldet", { status: 403, words: ["Ihr wurde nicht geglaubt"] });
  await german.picture("12-refused-de");
  await german.close();
}

export async function every_fault_of_an_id_token_is_refused(state) {
  const { world } = state;
  const before = await everything(state);
  // A client that got its token itself has no nonce of ours, and no access token came with it.
  const faults = Object.keys(FAULTS).filter((fault) => !["nonce", "no_nonce", "at_hash", "no_id_token"].includes(fault));
  for (const fault of faults) {
    for (const mint of ["carla", "ann"]) {
      const { id_token: token } = await world.tell({ mint, fault });
      const answer = await call(world.url, "POST", "/_matrix/client/v3/login", { body: { type: "org.matrix.login.jwt", token } });
      assert.deepEqual([answer.status, answer.body.errcode], [403, "M_FORBIDDEN"], fault);
    }
  }
  assert.deepEqual(await everything(state), before);
  // A fault is for one exchange: the same browser gets in without it.
  await world.tell({ fault: "nonce" });
  const visitor = await world.visitor();
  await visitor.logIn("ann");
  await visitor.shows(REFUSED, { status: 403 });
  await visitor.leave();
  await visitor.arrives();
  await visitor.close();
}

export async function cancelled_at_the_provider({ world }) {
  const visitor = await world.visitor();
  await visitor.leave();
  await visitor.page.click("button[value=cancel]");
  await visitor.shows(REFUSED, { status: 403, words: ["was cancelled"] });
  await visitor.picture("13-cancelled");
  await visitor.close();
}

/** Who lures somebody to the address with a code of their own logs nobody in. */
export async function in_another_browser({ world }) {
  const [eve, victim] = [await world.visitor(), await world.visitor()];
  await eve.leave();
  const callback = await eve.callback("eve");
  await victim.page.goto(callback);
  await victim.shows(REFUSED, { status: 403, words: ["in another browser"] });
  await victim.picture("14-other-browser");
  await victim.leave();
  await victim.page.goto(callback);
  await victim.shows(REFUSED, { status: 403, words: ["in another browser"] });
  await eve.page.goto(callback);
  await eve.arrives();
  await Promise.all([eve.close(), victim.close()]);
}

export async function used_twice({ world }) {
  const visitor = await world.visitor();
  await visitor.leave();
  const callback = await visitor.callback("ann");
  await visitor.page.goto(callback);
  await visitor.arrives();
  await visitor.page.goto(callback);
  await visitor.shows(REFUSED, { status: 400, words: ["This log-in is over"] });
  await visitor.close();
}

/** No other site can show the pages in a frame and have somebody click into them. */
export async function not_in_a_frame({ world }) {
  const visitor = await world.visitor({ scripts: true });
  await visitor.logIn("ann", `${world.provider.app}/elsewhere`);
  await visitor.shows("Go on?");
  const question = visitor.page.url();
  await visitor.page.goto(world.trusted);
  await visitor.page.evaluate((src) => document.body.append(Object.assign(document.createElement("iframe"), { src })), question);
  await eventually("the frame's end", () => visitor.page.frames().some((frame) => frame.url().startsWith("chrome-error:")));
  await visitor.close();
}
