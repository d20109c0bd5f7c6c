// A dinner of four on one server: Ann and Ben in the web app, Carl and Dora with stock Matrix clients.
//
//   node tests/dinner/together.mjs URL --python PYTHON [--out FOLDER]
//
// They chat in both directions. Ann pays 84.00 for herself, Ben and Carl, 28.00 each; Dora only watches. Ben settles in his
// browser, Carl through the ledger's API; Ann confirms both in hers; everybody is even. Prints a line for every step that
// held, and ends with status 1 at the first that does not. The server must not know the four yet. PYTHON must know
// matrix-nio; FOLDER gets pictures.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdir } from "node:fs/promises";
import { join as joinPath } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import * as web from "../browser/dinner.mjs";

const BILL = 8400n;
const SHARE = 2800n;
const TITLE = "Dinner at Ramiro";

/** The guests with stock clients: `guests.do("say", { who, … })`. */
function startGuests(python, url) {
  const script = fileURLToPath(new URL("guests.py", import.meta.url));
  const child = spawn(python, [script, "--url", url], { stdio: ["pipe", "pipe", "inherit"] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const call = async (command, facts) => {
    child.stdin.write(`${JSON.stringify({ do: command, ...facts })}\n`);
    const { value, done } = await lines.next();
    assert.ok(!done, "the guests have left");
    const answer = JSON.parse(value);
    assert.ok(!("error" in answer), `${command} ${JSON.stringify(facts)}: ${answer.error}`);
    return answer.ok;
  };
  return { do: call, leave: () => child.stdin.end() };
}

/** The people, their pages and clients, and what is checked after each step. */
class Table {
  constructor(url, guests, folder) {
    Object.assign(this, { url, guests, folder, group: "Friday dinner", pictures: 0, ids: {} });
  }

  async seat(browser) {
    this.ann = await web.openPage(browser);
    this.ben = await web.openPage(browser, { colorScheme: "dark" });
    for (const name of ["ann", "ben"]) this.ids[name] = await web.signUp(this[name], this.url, name);
    for (const who of ["carl", "dora"]) this.ids[who] = await this.guests.do("seat", { who, name: who });
  }

  async picture(name) {
    this.pictures += 1;
    if (!this.folder) return;
    const number = String(this.pictures).padStart(2, "0");
    for (const who of ["ann", "ben"]) await this[who].screenshot({ path: joinPath(this.folder, `${number}-${name}-${who}.png`) });
  }

  async done(step) {
    for (const who of ["ann", "ben"]) assert.deepEqual(this[who].problems, [], `${who}'s page reported problems`);
    await this.picture(step);
    console.log(`ok  ${step}`);
  }

  /** Both stock clients see a text. */
  async guestsSee(sender, ...parts) {
    for (const who of ["carl", "dora"]) await this.guests.do("sees", { who, room_id: this.roomId, sender: this.ids[sender], parts });
  }

  /** Both stock clients are told the same balances: name to euros. */
  async balancesAre(expected) {
    const byId = Object.fromEntries(Object.entries(expected).map(([who, amount]) => [this.ids[who], amount]));
    for (const who of ["carl", "dora"]) assert.deepEqual(await this.guests.do("balances", { who, room_id: this.roomId }), byId, who);
  }
}

async function gather(table) {
  const { ann, ben, ids, guests } = table;
  const others = [ids.ben, ids.carl, ids.dora];
  table.roomId = await web.createGroup(ann, table.url, { name: table.group, invite: others });
  await web.acceptInvitation(ben, table.url, table.group);
  for (const who of ["carl", "dora"]) await guests.do("join", { who, room_id: table.roomId });
  await web.waitForMembers(ann, others);
  for (const who of ["carl", "dora"]) await guests.do("members", { who, room_id: table.roomId, expected: Object.values(ids) });
  await table.done("gathered");
}

async function chat(table) {
  const { ann, ben, guests, roomId } = table;
  await web.say(ann, "Shall I book the table by the window?");
  await web.seeMessage(ben, "Shall I book the table by the window?");
  await table.guestsSee("ann", "Shall I book the table by the window?");
  await guests.do("say", { who: "carl", room_id: roomId, text: "Très volontiers!" });
  for (const page of [ann, ben]) await web.seeMessage(page, "Très volontiers!");
  await table.guestsSee("carl", "Très volontiers!");
  await web.say(ben, "At eight, then");
  await web.seeMessage(ann, "At eight, then");
  await table.guestsSee("ben", "At eight, then");
  await table.done("chatted");
}

async function spend(table) {
  const { ann, ben, ids } = table;
  const sheet = await web.addExpense(ann, { cents: BILL, title: TITLE, sharers: [ids.ann, ids.ben, ids.carl] });
  await table.picture("adding");
  await web.saveExpense(sheet);
  for (const page of [ann, ben]) await web.seeExpense(page, { title: TITLE, cents: BILL });
  await web.seeStanding(ann, BILL - SHARE);
  await web.seeStanding(ben, -SHARE);
  await table.guestsSee("ann", TITLE, "84.00", "28.00");
  await table.balancesAre({ ann: "56.00", ben: "-28.00", carl: "-28.00" });
  await table.done("spent");
}

async function settle(table) {
  const { ann, ben, ids, guests, roomId } = table;
  const { suggestion } = await web.startPayment(ben, SHARE);
  await table.picture("settling");
  await web.recordPayment(ben, suggestion);
  // Until Ann confirms, nothing is settled.
  await web.seeStanding(ben, -SHARE);
  await table.balancesAre({ ann: "56.00", ben: "-28.00", carl: "-28.00" });
  await table.guestsSee("ben", "28.00");
  await web.confirmPayment(ann, SHARE);
  await web.seeStanding(ben, 0n);
  await web.seeStanding(ann, SHARE);
  await table.balancesAre({ ann: "28.00", carl: "-28.00" });
  await table.done("ben-settled");

  await guests.do("pay", { who: "carl", room_id: roomId, to: ids.ann, amount: "28.00" });
  await table.guestsSee("carl", "28.00");
  await web.confirmPayment(ann, SHARE);
  for (const page of [ann, ben]) await web.seeStanding(page, 0n);
  await table.balancesAre({});
  await table.done("carl-settled");
}

async function evening(url, python, folder) {
  if (folder) await mkdir(folder, { recursive: true });
  const guests = startGuests(python, url.replace(/\/$/, ""));
  const browser = await web.launchBrowser();
  const table = new Table(url, guests, folder);
  try {
    await table.seat(browser);
    for (const step of [gather, chat, spend, settle]) await step(table);
  } catch (error) {
    await table.picture("failed").catch(() => {});
    throw error;
  } finally {
    guests.leave();
    await browser.close();
  }
}

const { values, positionals } = parseArgs({ allowPositionals: true, options: { out: { type: "string" }, python: { type: "string" } } });
const [address] = positionals;
if (!address || !values.python) {
  console.error("usage: together.mjs URL --python PYTHON [--out FOLDER]");
  process.exit(2);
}
evening(address.endsWith("/") ? address : `${address}/`, values.python, values.out).then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
