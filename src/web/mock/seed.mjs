// Demonstration data of the mock server: four people, three groups, an invitation.
import { PREFIX } from "./ledger.mjs";

const HOUR = 3_600_000;
const DAY = 24 * HOUR;

export function seed(world, { openLedger, addEntry }) {
  const now = Date.now();
  const [ann, ben, carla, dev] = [["ann", "Ann"], ["ben", "Ben"], ["carla", "Carla"], ["dev", "Dev"]].map(([name, display]) => world.addUser(name, "correct horse", display));
  const say = (room, who, body, ts) => room.append(who, "m.room.message", { msgtype: "m.text", body }, { ts });
  const expense = (room, who, title, amount, people, ts, currency = room.currency) =>
    addEntry(room, who, {
      type: `${PREFIX}expense`,
      content: { title, currency, amount, split: { method: "equal", inputs: people.map((p) => ({ who: p })) }, date: new Date(ts).toISOString().slice(0, 10) },
    }, ts).event.event_id;
  const settle = (room, who, from, to, amount, ts) =>
    addEntry(room, who, { type: `${PREFIX}settlement`, content: { from, to, currency: room.currency, amount } }, ts).event.event_id;
  const verdict = (room, who, target, value, ts) => addEntry(room, who, { type: `${PREFIX}verdict`, content: { target, verdict: value } }, ts);

  const lisbon = world.createRoom(ann, { name: "Lisbon in May", ts: now - 9 * DAY });
  openLedger(lisbon, { userId: ann }, "EUR");
  for (const event of lisbon.events) event.origin_server_ts = now - 9 * DAY;
  for (const who of [ben, carla, dev]) {
    lisbon.member(ann, who, "invite", now - 9 * DAY);
    lisbon.member(who, who, "join", now - 9 * DAY + HOUR);
  }
  const all = [ann, ben, carla, dev];
  for (let i = 0; i < 45; i += 1) say(lisbon, all[i % 4], `Planning note ${i + 1}: what about option ${String.fromCharCode(65 + (i % 26))}?`, now - 8 * DAY + i * 60_000);
  expense(lisbon, ann, "Flat by the river, three nights", "612.00", all, now - 7 * DAY);
  say(lisbon, carla, "Booked the trains as well. Everybody gets a window seat, I promise.", now - 6 * DAY);
  expense(lisbon, carla, "Train to Sintra", "46.00", all, now - 6 * DAY + 60_000);
  say(lisbon, dev, "You are the best", now - 6 * DAY + 120_000);
  const wrong = expense(lisbon, ann, "Museum tickets", "44.00", all, now - 2 * DAY);
  addEntry(lisbon, ann, { type: `${PREFIX}void`, content: { target: wrong, reason: "Entered twice" } }, now - 2 * DAY + HOUR);
  verdict(lisbon, ann, settle(lisbon, dev, dev, ann, "100.00", now - 2 * DAY + 2 * HOUR), "confirmed", now - 2 * DAY + 3 * HOUR);
  say(lisbon, ben, "Last night's dinner was amazing", now - DAY - HOUR);
  expense(lisbon, ben, "Dinner at Ramiro", "127.30", [ann, ben, carla], now - DAY - HOUR + 60_000);
  say(lisbon, ann, "Agreed. I still dream of the garlic prawns.", now - 5 * HOUR);
  say(lisbon, ann, "Shall we settle before the weekend?", now - 5 * HOUR + 30_000);
  say(lisbon, ben, "Sure, sending you my part now", now - 4 * HOUR);
  settle(lisbon, ben, ben, ann, "60.00", now - 4 * HOUR + 60_000);

  const flat = world.createRoom(carla, { name: "Flat 4b", invite: [ann], ts: now - 30 * DAY });
  openLedger(flat, { userId: carla }, "EUR");
  for (const event of flat.events) event.origin_server_ts = now - 30 * DAY;
  flat.member(ann, ann, "join", now - 29 * DAY);
  expense(flat, carla, "Electricity, October", "71.45", [ann, carla], now - 12 * DAY);
  say(flat, carla, "Electricity is in. The heating starts next week.", now - 12 * DAY + 60_000);

  const work = world.createRoom(dev, { name: "Lunch in Tokyo", invite: [ann], ts: now - 20 * DAY });
  openLedger(work, { userId: dev }, "JPY");
  for (const event of work.events) event.origin_server_ts = now - 20 * DAY;
  work.member(ann, ann, "join", now - 19 * DAY);
  expense(work, ann, "Ramen", "2900", [ann, dev], now - 19 * DAY);

  world.createRoom(ben, { name: "Ski weekend", invite: [ann], ts: now - 2 * HOUR });
}
