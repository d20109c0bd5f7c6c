// A dinner split in the web app: two people in two browsers, on a phone's width, against a running server.
//
//   node tests/browser/dinner.mjs URL [--out FOLDER] [--invite USER_ID …] [--share-with USER_ID …] [--wait]
//
// Prints one JSON object a line for every step that held, and ends with status 1 at the first that does not.
// --invite      people beside the two, who join with clients of their own; the script waits until they have
// --share-with  those of them who share the bill (all of --invite by default)
// --wait        after each step, go on only when a line arrives on standard input, so that another program
//               can let its own clients act in between
// Every step is exported too, for programs that drive the pages themselves.

import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { createRequire } from "node:module";
import { join as joinPath } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const require = createRequire(new URL("../../src/web/package.json", import.meta.url));
const { chromium } = require("playwright-core");

const PHONE = { width: 390, height: 844 };
const PASSWORD = "a long enough password";
/** The bill, in cents; it divides evenly by two to four, by six and by seven. */
const BILL = 8400n;
const TITLE = "Dinner at Ramiro";

export function launchBrowser() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });
}

/** A browser profile of its own, in British English. Errors of the page end up in `page.problems`. */
export async function openPage(browser, { colorScheme = "light", viewport = PHONE } = {}) {
  const context = await browser.newContext({ viewport, colorScheme, locale: "en-GB", deviceScaleFactor: 2, reducedMotion: "reduce" });
  const page = await context.newPage();
  page.problems = [];
  page.on("pageerror", (error) => page.problems.push(String(error)));
  page.on("console", (message) => {
    if (message.type() === "error" && /Content Security Policy|Uncaught/.test(message.text())) page.problems.push(message.text());
  });
  page.setDefaultTimeout(20_000);
  return page;
}

/** "€42.00" for 4200n. */
export function euros(cents) {
  return `€${cents / 100n}.${String(cents % 100n).padStart(2, "0")}`;
}

/** Makes an account; gives its user id. */
export async function signUp(page, url, name) {
  await page.goto(`${url}#/signup`);
  await page.fill("[name=username]", name);
  await page.fill("[name=password]", PASSWORD);
  await page.getByRole("button", { name: "Sign up" }).click();
  await page.getByRole("heading", { name: "Where you stand" }).waitFor();
  return page.evaluate(() => JSON.parse(localStorage.getItem("cliquepay.session")).userId);
}

/** The session of a page that is logged in, for calls to the API in between. */
export function sessionOf(page) {
  return page.evaluate(() => JSON.parse(localStorage.getItem("cliquepay.session")));
}

/** Creates a group and invites people by user id; gives the room id. */
export async function createGroup(page, url, { name, invite }) {
  await page.goto(`${url}#/new`);
  await page.fill("[name=name]", name);
  for (const person of invite) {
    await page.fill("[name=person]", person);
    await page.getByRole("button", { name: "Add", exact: true }).click();
  }
  await page.getByRole("button", { name: "Create group" }).click();
  await page.waitForURL(/#\/group\//);
  await page.getByRole("heading", { name }).waitFor();
  return decodeURIComponent(new URL(page.url()).hash.split("/")[2]);
}

/** Accepts the invitation to a group from the home screen. */
export async function acceptInvitation(page, url, name) {
  await page.goto(`${url}#/`);
  await page.getByRole("listitem").filter({ hasText: name }).getByRole("button", { name: "Join" }).click();
  await page.waitForURL(/#\/group\//);
  await page.getByRole("heading", { name }).waitFor();
}

/** Opens one part of the group: "Chat", "Balances", "Expenses" or "People". */
export async function openTab(page, tab) {
  await page.getByRole("navigation", { name: "Group" }).getByRole("link", { name: tab, exact: true }).click();
}

/** Waits until everybody of a list is in the group and not only invited. */
export async function waitForMembers(page, userIds, timeout = 60_000) {
  await openTab(page, "People");
  for (const userId of userIds) {
    const row = page.getByRole("listitem").filter({ hasText: userId });
    await row.waitFor({ timeout });
    await row.getByText("Invited").waitFor({ state: "detached", timeout });
  }
  await openTab(page, "Chat");
}

/** Sends a message. */
export async function say(page, text) {
  await openTab(page, "Chat");
  await page.getByRole("textbox", { name: "Message" }).fill(text);
  await page.keyboard.press("Enter");
}

/** Waits until a message has arrived from the server, not only been shown by its sender's own page. */
export async function seeMessage(page, text) {
  await openTab(page, "Chat");
  const row = page.getByRole("list", { name: "Chat" }).getByRole("listitem").filter({ hasText: text });
  await row.waitFor();
  await row.getByRole("img", { name: "Sending" }).waitFor({ state: "detached" });
  assert.equal(await row.count(), 1, `"${text}" is shown once`);
}

/** Adds an expense, split equally among `sharers` (user ids), or among everybody when left out. */
export async function addExpense(page, { cents, title, sharers }) {
  await page.getByRole("link", { name: "Add", exact: true }).click();
  const sheet = page.getByRole("dialog", { name: "Add expense" });
  await sheet.getByLabel("Amount").fill(`${cents / 100n}.${String(cents % 100n).padStart(2, "0")}`);
  await sheet.getByLabel("What for?").fill(title);
  if (sharers) {
    await sheet.getByRole("button", { name: /^Paid by you/ }).click();
    for (const row of await sheet.locator("li[data-who]").all()) {
      await row.getByRole("checkbox").setChecked(sharers.includes(await row.getAttribute("data-who")));
    }
  }
  // The ledger's own word on what would be signed, before anything is.
  await sheet.getByText(/^After this you/).waitFor();
  return sheet;
}

export async function saveExpense(sheet) {
  await sheet.getByRole("button", { name: "Save expense" }).click();
  await sheet.waitFor({ state: "detached" });
}

/** Waits for an expense's card, and checks that its line in words does not stand beside it. */
export async function seeExpense(page, { title, cents }) {
  await openTab(page, "Chat");
  const rows = page.getByRole("list", { name: "Chat" }).getByRole("listitem").filter({ hasText: title });
  await rows.getByRole("article").filter({ hasText: euros(cents) }).waitFor();
  assert.equal(await rows.count(), 1, "the card is shown, its line in words is not");
}

/** Waits until the group's header says where its reader stands: positive cents where they are owed. */
export async function seeStanding(page, cents, timeout = 20_000) {
  const words = cents === 0n ? "You are all settled up" : `${cents > 0n ? "You are owed" : "You owe"}${euros(cents < 0n ? -cents : cents)}`;
  await page.getByTestId("my-standing").filter({ hasText: words }).waitFor({ timeout });
}

/** Opens "Settle up", takes the suggestion of that amount and writes it down as paid. Gives the sheet before it is sent. */
export async function startPayment(page, cents) {
  await openTab(page, "Balances");
  await page.getByRole("link", { name: "Settle up" }).click();
  const suggestions = page.getByRole("dialog", { name: "Settle up" });
  const suggestion = suggestions.getByRole("button").filter({ hasText: "You pay" }).filter({ hasText: euros(cents) });
  await suggestion.waitFor();
  return { suggestions, suggestion };
}

export async function recordPayment(page, suggestion) {
  await suggestion.click();
  const sheet = page.getByRole("dialog", { name: "Write down a payment" });
  await sheet.getByRole("button", { name: "I paid this" }).click();
  await sheet.waitFor({ state: "detached" });
}

/** Waits for a payment that asks for this reader's word, and confirms it. */
export async function confirmPayment(page, cents) {
  await openTab(page, "Balances");
  const card = page.locator("section").filter({ hasText: "Waiting for confirmation" });
  await card.getByText(`you were paid ${euros(cents)}`).waitFor();
  await card.getByRole("button", { name: "Yes, confirm" }).click();
  await card.waitFor({ state: "detached" });
}

/** The whole evening. `on(step, facts)` is called, and awaited, after each step that held. */
export async function dinner({ url, folder, invite = [], shareWith = invite, on = () => {} }) {
  if (folder) await mkdir(folder, { recursive: true });
  const browser = await launchBrowser();
  const suffix = Math.random().toString(36).slice(2, 8);
  const group = `Dinner ${suffix}`;
  let picture = 0;
  const ann = await openPage(browser);
  const ben = await openPage(browser, { colorScheme: "dark" });
  const done = async (step, facts = {}) => {
    picture += 1;
    for (const [who, page] of Object.entries({ ann, ben })) {
      assert.deepEqual(page.problems, [], `${who}'s page reported problems`);
      if (folder) await page.screenshot({ path: joinPath(folder, `${String(picture).padStart(2, "0")}-${step}-${who}.png`) });
    }
    await on(step, facts);
  };
  try {
    const annId = await signUp(ann, url, `ann-${suffix}`);
    const benId = await signUp(ben, url, `ben-${suffix}`);
    await done("signed-up", { ann: await sessionOf(ann), ben: await sessionOf(ben) });

    const roomId = await createGroup(ann, url, { name: group, invite: [benId, ...invite] });
    await done("group", { roomId, group });
    await acceptInvitation(ben, url, group);
    await waitForMembers(ann, [benId, ...invite]);
    await done("joined");

    await say(ann, "Shall I book the table by the window?");
    await seeMessage(ben, "Shall I book the table by the window?");
    await say(ben, "Yes please, for eight o'clock");
    await seeMessage(ann, "Yes please, for eight o'clock");
    await seeMessage(ben, "Yes please, for eight o'clock");
    await done("chat");

    const sharers = [annId, benId, ...shareWith];
    const share = BILL / BigInt(sharers.length);
    assert.equal(share * BigInt(sharers.length), BILL, "the bill divides evenly");
    const sheet = await addExpense(ann, { cents: BILL, title: TITLE, sharers: shareWith === invite ? undefined : sharers });
    await done("adding");
    await saveExpense(sheet);
    await seeExpense(ann, { title: TITLE, cents: BILL });
    await seeExpense(ben, { title: TITLE, cents: BILL });
    await seeStanding(ann, BILL - share);
    await seeStanding(ben, -share);
    await done("expense", { share: euros(share) });

    await openTab(ann, "Balances");
    const { suggestion } = await startPayment(ben, share);
    await done("balances");
    await recordPayment(ben, suggestion);
    await seeStanding(ben, -share);
    await done("pending");
    await confirmPayment(ann, share);
    await seeStanding(ben, 0n);
    await done("confirmed");

    // The others' payments are theirs to make.
    await seeStanding(ann, 0n, shareWith.length > 0 ? 120_000 : undefined);
    await openTab(ben, "Chat");
    await done("settled");
    return { roomId, annId, benId };
  } catch (error) {
    if (folder) for (const [who, page] of Object.entries({ ann, ben })) await page.screenshot({ path: joinPath(folder, `failed-${who}.png`) }).catch(() => {});
    throw error;
  } finally {
    await browser.close();
  }
}

async function main() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { out: { type: "string" }, invite: { type: "string", multiple: true }, "share-with": { type: "string", multiple: true }, wait: { type: "boolean" } },
  });
  const [address] = positionals;
  if (!address) throw new Error("usage: dinner.mjs URL [--out FOLDER] [--invite USER_ID …] [--share-with USER_ID …] [--wait]");
  const url = address.endsWith("/") ? address : `${address}/`;
  const input = values.wait ? createInterface({ input: process.stdin })[Symbol.asyncIterator]() : undefined;
  const on = async (step, facts) => {
    console.log(JSON.stringify({ step, ...facts }));
    await input?.next();
  };
  const invite = values.invite ?? [];
  await dinner({ url, folder: values.out, invite, ...(values["share-with"] ? { shareWith: values["share-with"] } : {}), on });
  process.exit(0);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  main().catch((error) => {
    console.error(error);
    process.exit(1);
  });
}
