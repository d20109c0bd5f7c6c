import { describe, expect, it } from "vitest";
import { applySync, isRedacted, NO_ROOMS, prependOlder, type Room, roomsWithLedgerNews, withEcho, withoutEcho } from "./room-state";
import type { JoinedRoomUpdate, MatrixEvent, SyncResponse } from "./types";

const ME = "@me:x";
const ROOM = "!room:x";

let counter = 0;
function event(type: string, content: Record<string, unknown> = {}, extra: Partial<MatrixEvent> = {}): MatrixEvent {
  counter += 1;
  return { event_id: `$${counter}`, type, sender: ME, origin_server_ts: counter, content, ...extra };
}
const message = (body: string, extra: Partial<MatrixEvent> = {}) => event("m.room.message", { msgtype: "m.text", body }, extra);
const member = (userId: string, membership: string, displayname?: string) => event("m.room.member", { membership, displayname }, { state_key: userId });

function joined(update: JoinedRoomUpdate, next_batch = "s1"): SyncResponse {
  return { next_batch, rooms: { join: { [ROOM]: update } } };
}
function room(rooms = NO_ROOMS): Room {
  const found = rooms.joined.get(ROOM);
  if (!found) throw new Error("the room is not there");
  return found;
}
const ids = (events: readonly MatrixEvent[]) => events.map((one) => one.event_id);

describe("applySync", () => {
  it("takes a room in: name, people, events, where older ones are", () => {
    const hello = message("hello");
    const rooms = applySync(NO_ROOMS, joined({
      state: { events: [event("m.room.name", { name: "Lisbon" }, { state_key: "" }), member(ME, "join", "Me")] },
      timeline: { events: [hello], limited: true, prev_batch: "t7" },
      unread_notifications: { notification_count: 2 },
    }), ME);
    expect(rooms.since).toBe("s1");
    expect(room(rooms)).toMatchObject({ name: "Lisbon", prevBatch: "t7", unread: 2, encrypted: false });
    expect(ids(room(rooms).events)).toEqual([hello.event_id]);
    expect(room(rooms).members.get(ME)).toEqual({ userId: ME, name: "Me", membership: "join" });
  });

  it("appends what is new, once, and keeps the place of older ones", () => {
    const [one, two, three] = [message("1"), message("2"), message("3")];
    const first = applySync(NO_ROOMS, joined({ timeline: { events: [one, two], prev_batch: "t1" } }), ME);
    const second = applySync(first, joined({ timeline: { events: [two, three], prev_batch: "t2" } }, "s2"), ME);
    expect(ids(room(second).events)).toEqual(ids([one, two, three]));
    expect(room(second).prevBatch).toBe("t1");
    expect(ids(room(first).events)).toEqual(ids([one, two]));
  });

  it("drops what is before a gap, so that paging leaves no hole", () => {
    const first = applySync(NO_ROOMS, joined({ timeline: { events: [message("old")], prev_batch: "t1" } }), ME);
    const fresh = message("new");
    const second = applySync(first, joined({ timeline: { events: [fresh], limited: true, prev_batch: "t9" } }), ME);
    expect(ids(room(second).events)).toEqual([fresh.event_id]);
    expect(room(second).prevBatch).toBe("t9");
  });

  it("reads state in the timeline, and keeps the name of somebody who left", () => {
    const first = applySync(NO_ROOMS, joined({ state: { events: [member("@b:x", "join", "Ben")] }, timeline: { events: [message("x")] } }), ME);
    const second = applySync(first, joined({ timeline: { events: [member("@b:x", "leave"), event("m.room.encryption", {}, { state_key: "" })] } }), ME);
    expect(room(second).members.get("@b:x")).toEqual({ userId: "@b:x", name: "Ben", membership: "leave" });
    expect(room(second).encrypted).toBe(true);
  });

  it("leaves an unchanged room as it was", () => {
    const first = applySync(NO_ROOMS, joined({ timeline: { events: [message("x")] } }), ME);
    const second = applySync(first, { next_batch: "s2" }, ME);
    expect(second.joined.get(ROOM)).toBe(first.joined.get(ROOM));
  });

  it("moves a room from invited to joined to gone", () => {
    const stripped = [
      { type: "m.room.name", state_key: "", sender: "@b:x", content: { name: "Ski" } },
      { type: "m.room.member", state_key: ME, sender: "@b:x", content: { membership: "invite" } },
      { type: "m.room.member", state_key: "@b:x", sender: "@b:x", content: { membership: "join", displayname: "Ben" } },
    ];
    const invited = applySync(NO_ROOMS, { next_batch: "s1", rooms: { invite: { [ROOM]: { invite_state: { events: stripped } } } } }, ME);
    expect(invited.invites.get(ROOM)).toEqual({ roomId: ROOM, name: "Ski", inviter: "@b:x", inviterName: "Ben" });
    const accepted = applySync(invited, joined({ timeline: { events: [member(ME, "join")] } }), ME);
    expect([accepted.invites.size, accepted.joined.size]).toEqual([0, 1]);
    const gone = applySync(accepted, { next_batch: "s3", rooms: { leave: { [ROOM]: {} } } }, ME);
    expect([gone.invites.size, gone.joined.size]).toEqual([0, 0]);
  });

  it.each([
    ["in the content", (id: string) => event("m.room.redaction", { redacts: id })],
    ["beside it", (id: string) => ({ ...event("m.room.redaction"), redacts: id }) as MatrixEvent],
  ])("empties what a redaction takes back, its target named %s", (_, redact) => {
    const secret = message("secret");
    const first = applySync(NO_ROOMS, joined({ timeline: { events: [secret] } }), ME);
    const second = applySync(first, joined({ timeline: { events: [redact(secret.event_id)] } }), ME);
    const [redacted] = room(second).events;
    expect(redacted && isRedacted(redacted)).toBe(true);
    expect(redacted?.content).toEqual({});
  });
});

describe("older events", () => {
  it("come before the known ones, in order and once", () => {
    const [one, two, three] = [message("1"), message("2"), message("3")];
    const now = room(applySync(NO_ROOMS, joined({ timeline: { events: [three], limited: true, prev_batch: "t2" } }), ME));
    const paged = prependOlder(now, [three, two, one], "t0");
    expect(ids(paged.events)).toEqual(ids([one, two, three]));
    expect(paged.prevBatch).toBe("t0");
  });

  it("end where the server names no further page, or gives an empty one", () => {
    const now = room(applySync(NO_ROOMS, joined({ timeline: { events: [message("x")], prev_batch: "t2" } }), ME));
    expect(prependOlder(now, [message("w")], undefined).prevBatch).toBeUndefined();
    expect(prependOlder(now, [], "t1").prevBatch).toBeUndefined();
  });
});

describe("local echoes", () => {
  const start = () => applySync(NO_ROOMS, joined({ timeline: { events: [message("x")] } }), ME);
  const echo = { txnId: "t1", body: "hi", ts: 1, status: "sending" as const };
  const put = (rooms = start(), change = withEcho(room(rooms), echo)) => ({ ...rooms, joined: new Map([[ROOM, change]]) });

  it("go when their event comes back by its transaction id", () => {
    const after = applySync(put(), joined({ timeline: { events: [message("hi", { unsigned: { transaction_id: "t1" } })] } }), ME);
    expect(room(after).echoes).toEqual([]);
    expect(room(after).events).toHaveLength(2);
  });

  it("go when their event comes back by its id", () => {
    const rooms = put(undefined, withEcho(room(start()), { ...echo, eventId: "$known" }));
    const after = applySync(rooms, joined({ timeline: { events: [message("hi", { event_id: "$known" })] } }), ME);
    expect(room(after).echoes).toEqual([]);
  });

  it("are not shown again when /sync was faster than the answer to the request", () => {
    const after = applySync(put(), joined({ timeline: { events: [message("hi", { event_id: "$fast", unsigned: { transaction_id: "t1" } })] } }), ME);
    expect(withEcho(room(after), { ...echo, eventId: "$fast" }).echoes).toEqual([]);
  });

  it("stay, marked, when sending failed, and can be retried and dropped", () => {
    const failed = withEcho(withEcho(room(start()), echo), { ...echo, status: "failed" });
    expect(failed.echoes).toEqual([{ ...echo, status: "failed" }]);
    expect(withEcho(failed, echo).echoes).toEqual([echo]);
    expect(withoutEcho(failed, "t1").echoes).toEqual([]);
  });

  it("of other messages stay", () => {
    const after = applySync(put(), joined({ timeline: { events: [message("other", { unsigned: { transaction_id: "t2" } })] } }), ME);
    expect(room(after).echoes).toEqual([echo]);
  });
});

it("tells which rooms' balances may have changed", () => {
  const response: SyncResponse = {
    next_batch: "s",
    rooms: {
      join: {
        "!chat:x": { timeline: { events: [message("x")] } },
        "!expense:x": { timeline: { events: [event("com.cliquepay.expense")] } },
        "!redaction:x": { timeline: { events: [event("m.room.redaction")] } },
        "!gap:x": { timeline: { events: [message("x")], limited: true } },
        "!quiet:x": {},
      },
    },
  };
  expect(roomsWithLedgerNews(response)).toEqual(["!expense:x", "!redaction:x", "!gap:x"]);
});
