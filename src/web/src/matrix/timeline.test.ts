import { describe, expect, it } from "vitest";
import type { Entry } from "@/ledger/types";
import { buildTimeline, classifyLines } from "./timeline";
import type { MatrixEvent } from "./types";

const ANN = "@ann:x";
const BEN = "@ben:x";
const NOON = new Date(2026, 10, 22, 12).getTime();

function event(id: string, type: string, content: Record<string, unknown>, extra: Partial<MatrixEvent> = {}): MatrixEvent {
  return { event_id: id, type, sender: ANN, origin_server_ts: NOON, content, ...extra };
}
const reference = (target: string) => ({ "m.relates_to": { rel_type: "m.reference", event_id: target } });
const expense = event("$e", "com.cliquepay.expense", { title: "Dinner", amount: "84.00" });
const line = (id = "$l", extra: Partial<MatrixEvent> = {}) => event(id, "m.room.message", { msgtype: "m.notice", body: "Ann paid €84.00 for Dinner", ...reference("$e") }, extra);
const edit = (target: string, sender = ANN) =>
  event(`$edit-${target}`, "m.room.message", { body: "* x", "m.new_content": { body: "Ann paid €8.00" }, "m.relates_to": { rel_type: "m.replace", event_id: target } }, { sender });
const noEntries = new Map<string, Entry>();
const entries = (lineId: string) => new Map([["$e", { event_id: "$e", line_event_id: lineId } as Entry]]);
const sets = (events: MatrixEvent[], known = noEntries) => {
  const { hidden, changed } = classifyLines(events, known);
  return { hidden: [...hidden], changed: [...changed] };
};

describe("the line in words beside an entry's card", () => {
  it("is hidden where it is the sender's own and unedited", () => {
    expect(sets([expense, line()])).toEqual({ hidden: ["$l"], changed: [] });
  });

  it("stays where the card is not shown", () => {
    expect(sets([line()])).toEqual({ hidden: [], changed: [] });
  });

  it("stays where somebody else wrote it", () => {
    expect(sets([expense, line("$l", { sender: BEN })])).toEqual({ hidden: [], changed: [] });
  });

  it("stays, with a warning, where it was edited later", () => {
    expect(sets([expense, line(), edit("$l")])).toEqual({ hidden: [], changed: ["$l"] });
    expect(sets([expense, line("$l", { unsigned: { "m.relations": { "m.replace": {} } } })])).toEqual({ hidden: [], changed: ["$l"] });
  });

  it("is not given away by an edit that somebody else tries", () => {
    expect(sets([expense, line(), edit("$l", BEN)])).toEqual({ hidden: ["$l"], changed: [] });
  });

  it("is the one the ledger names: a further message about the entry is a comment", () => {
    expect(sets([expense, line("$l"), line("$comment")])).toEqual({ hidden: ["$l"], changed: [] });
    expect(sets([expense, line("$comment"), line("$l")], entries("$l"))).toEqual({ hidden: ["$l"], changed: [] });
  });

  it("stays where the entry was removed", () => {
    expect(sets([{ ...expense, unsigned: { redacted_because: true } }, line()])).toEqual({ hidden: [], changed: [] });
  });

  it("is only ever a message that references an entry", () => {
    const reply = event("$r", "m.room.message", { body: "nice", "m.relates_to": { "m.in_reply_to": { event_id: "$e" } } });
    const odd = event("$o", "m.room.message", { body: "odd", "m.relates_to": "nonsense" });
    expect(sets([expense, reply, odd])).toEqual({ hidden: [], changed: [] });
  });
});

describe("the rows of the chat", () => {
  const kinds = (events: MatrixEvent[], known = noEntries) => buildTimeline(events, [], known).map((item) => item.kind);
  const say = (id: string, extra: Partial<MatrixEvent> = {}) => event(id, "m.room.message", { msgtype: "m.text", body: id }, extra);

  it("show a card for an entry, and its line not again", () => {
    expect(kinds([expense, line()])).toEqual(["day", "card"]);
  });

  it("show an edited line beside the card, marked", () => {
    const items = buildTimeline([expense, line(), edit("$l")], [], noEntries);
    expect(items.map((item) => item.kind)).toEqual(["day", "card", "message"]);
    expect(items[2]).toMatchObject({ kind: "message", body: "Ann paid €8.00", edited: true, lineChanged: true });
  });

  it("begin each day with its date and put one person's messages under one name", () => {
    const items = buildTimeline([
      say("$1"),
      say("$2", { origin_server_ts: NOON + 60_000 }),
      say("$3", { origin_server_ts: NOON + 120_000, sender: BEN }),
      say("$4", { origin_server_ts: NOON + 20 * 60_000, sender: BEN }),
      say("$5", { origin_server_ts: NOON + 86_400_000, sender: BEN }),
    ], [], noEntries);
    expect(items.map((item) => (item.kind === "message" ? item.continues : item.kind))).toEqual(["day", false, true, false, false, "day", false]);
  });

  it("leave out what is no news: a new room's own state, repeated memberships, unknown types", () => {
    const state = (id: string, type: string, content: Record<string, unknown>, extra: Partial<MatrixEvent> = {}) => event(id, type, content, { state_key: "", ...extra });
    expect(kinds([
      state("$c", "m.room.create", {}),
      state("$m", "m.room.member", { membership: "join" }, { state_key: ANN }),
      state("$n", "m.room.name", { name: "Lisbon" }),
      state("$p", "m.room.power_levels", {}),
      state("$j", "m.room.member", { membership: "join" }, { state_key: BEN, sender: BEN }),
      state("$k", "m.room.member", { membership: "join" }, { state_key: BEN, sender: BEN, unsigned: { prev_content: { membership: "join" } } }),
      event("$x", "org.example.unknown", {}),
    ])).toEqual(["day", "notice", "notice"]);
  });

  it("say that a message was removed", () => {
    expect(kinds([say("$1", { content: {}, unsigned: { redacted_because: true } })])).toEqual(["day", "removed"]);
  });

  it("keep a sent message in its place when its event comes back", () => {
    const echo = { txnId: "t1", body: "hi", ts: NOON, status: "sending" as const };
    const before = buildTimeline([say("$1")], [echo], noEntries);
    const after = buildTimeline([say("$1"), say("$2", { unsigned: { transaction_id: "t1" } })], [], noEntries);
    expect(before.at(-1)?.key).toBe("t1");
    expect(after.at(-1)?.key).toBe("t1");
  });

  it("leave out what an older app quotes before a reply", () => {
    const reply = event("$r", "m.room.message", { body: "> <@b:x> where?\n> when?\n\nat eight", "m.relates_to": { "m.in_reply_to": { event_id: "$q" } } });
    const quote = event("$s", "m.room.message", { body: "> to be or not" });
    expect(buildTimeline([reply, quote], [], noEntries)).toMatchObject([{ kind: "day" }, { body: "at eight" }, { body: "> to be or not" }]);
  });

  it("survive content that is not what it should be", () => {
    expect(kinds([event("$1", "m.room.message", { body: 7 }), event("$2", "com.cliquepay.settlement", {})])).toEqual(["day", "message", "card"]);
  });
});
