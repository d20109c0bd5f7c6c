import type { Entry } from "@/ledger/types";
import { EXPENSE, OPEN, SETTLEMENT, VERDICT, VOID } from "@/ledger/types";
import { sameDay } from "@/lib/time";
import { isRedacted, type LocalEcho } from "./room-state";
import type { MatrixEvent } from "./types";

/** One row of the chat. `key` is stable while the row stands for the same thing. */
export type TimelineItem =
  | { kind: "day"; key: string; ts: number }
  | { kind: "message"; key: string; event: MatrixEvent; body: string; emote: boolean; edited: boolean; continues: boolean; aboutEntry?: string; lineChanged: boolean }
  | { kind: "removed"; key: string; event: MatrixEvent }
  | { kind: "card"; key: string; event: MatrixEvent; entry: Entry | undefined }
  | { kind: "notice"; key: string; event: MatrixEvent }
  | { kind: "echo"; key: string; echo: LocalEcho };

const CARD_TYPES: ReadonlySet<string> = new Set([EXPENSE, SETTLEMENT]);
const LEDGER_NOTICES: ReadonlySet<string> = new Set([VERDICT, VOID, OPEN]);
const ROOM_NOTICES: ReadonlySet<string> = new Set(["m.room.member", "m.room.name", "m.room.create"]);

/** Messages of one person this close together stand under one name. */
const SAME_BREATH_MS = 5 * 60_000;

interface Relation {
  rel_type?: unknown;
  event_id?: unknown;
}

function relation(event: MatrixEvent): { type: string; target: string } | undefined {
  const relates = event.content["m.relates_to"] as Relation | undefined;
  if (typeof relates !== "object" || relates === null) return undefined;
  if (typeof relates.rel_type !== "string" || typeof relates.event_id !== "string") return undefined;
  return { type: relates.rel_type, target: relates.event_id };
}

/** The newest edit of each message, by the message's id; only the message's own sender can edit it. */
function editsByTarget(events: readonly MatrixEvent[]): Map<string, MatrixEvent> {
  const senders = new Map(events.map((event) => [event.event_id, event.sender]));
  const edits = new Map<string, MatrixEvent>();
  for (const event of events) {
    const related = relation(event);
    if (related?.type !== "m.replace" || isRedacted(event)) continue;
    if (senders.get(related.target) === event.sender) edits.set(related.target, event);
  }
  return edits;
}

function isEdited(event: MatrixEvent, edits: ReadonlyMap<string, MatrixEvent>): boolean {
  return edits.has(event.event_id) || event.unsigned?.["m.relations"]?.["m.replace"] !== undefined;
}

/** How a message stands to a ledger entry that is shown in the same timeline. */
export interface LineVerdicts {
  /** Lines in words that say what a card shows already: left out. */
  hidden: ReadonlySet<string>;
  /** Such lines that their sender changed afterwards: shown beside the card, with a warning. */
  changed: ReadonlySet<string>;
}

/**
 * Finds the plain lines that only repeat a shown entry. A line is hidden where it is the entry's own
 * sender's, references the entry, was never edited, and is the one the ledger knows as the entry's line
 * (or the first such one, while the ledger has not said). Everything else stays visible: a second message
 * about an entry is a comment, and somebody else's words are theirs.
 */
export function classifyLines(events: readonly MatrixEvent[], entries: ReadonlyMap<string, Entry>): LineVerdicts {
  const shown = new Map(events.filter((event) => isLedgerEvent(event) && !isRedacted(event)).map((event) => [event.event_id, event]));
  const edits = editsByTarget(events);
  const claimed = new Set<string>();
  const hidden = new Set<string>();
  const changed = new Set<string>();
  for (const event of events) {
    if (event.type !== "m.room.message" || isRedacted(event)) continue;
    const related = relation(event);
    const target = related?.type === "m.reference" ? shown.get(related.target) : undefined;
    if (!target || target.sender !== event.sender || claimed.has(target.event_id)) continue;
    const official = entries.get(target.event_id)?.line_event_id;
    if (official !== undefined && official !== event.event_id) continue;
    claimed.add(target.event_id);
    (isEdited(event, edits) ? changed : hidden).add(event.event_id);
  }
  return { hidden, changed };
}

function isLedgerEvent(event: MatrixEvent): boolean {
  return CARD_TYPES.has(event.type) || LEDGER_NOTICES.has(event.type);
}

/** Lays a room's events out as rows, oldest first, with what this device is still sending at the end. */
export function buildTimeline(
  events: readonly MatrixEvent[],
  echoes: readonly LocalEcho[],
  entries: ReadonlyMap<string, Entry>,
): TimelineItem[] {
  const edits = editsByTarget(events);
  const lines = classifyLines(events, entries);
  const items: TimelineItem[] = [];
  let previous: MatrixEvent | undefined;
  for (const event of events) {
    const item = lines.hidden.has(event.event_id) ? undefined : itemFor(event, previous, edits, lines, entries);
    if (!item) continue;
    if (!previous || !sameDay(previous.origin_server_ts, event.origin_server_ts)) {
      items.push({ kind: "day", key: `day-${event.event_id}`, ts: event.origin_server_ts });
    }
    items.push(item);
    previous = event;
  }
  for (const echo of echoes) items.push({ kind: "echo", key: echo.txnId, echo });
  return items;
}

function itemFor(
  event: MatrixEvent,
  previous: MatrixEvent | undefined,
  edits: ReadonlyMap<string, MatrixEvent>,
  lines: LineVerdicts,
  entries: ReadonlyMap<string, Entry>,
): TimelineItem | undefined {
  const key = event.unsigned?.transaction_id ?? event.event_id;
  if (event.type === "m.room.message") return messageItem(key, event, previous, edits, lines);
  if (CARD_TYPES.has(event.type)) return { kind: "card", key, event, entry: entries.get(event.event_id) };
  if (LEDGER_NOTICES.has(event.type)) return isRedacted(event) ? undefined : { kind: "notice", key, event };
  if (ROOM_NOTICES.has(event.type) && event.state_key !== undefined) return changesNothing(event, previous) ? undefined : { kind: "notice", key, event };
  return undefined;
}

function messageItem(
  key: string,
  event: MatrixEvent,
  previous: MatrixEvent | undefined,
  edits: ReadonlyMap<string, MatrixEvent>,
  lines: LineVerdicts,
): TimelineItem | undefined {
  if (isRedacted(event)) return { kind: "removed", key, event };
  const related = relation(event);
  if (related?.type === "m.replace") return undefined;
  const edit = edits.get(event.event_id);
  const content = (edit?.content["m.new_content"] as Record<string, unknown> | undefined) ?? event.content;
  const body = typeof content.body === "string" ? withoutQuote(content.body, event) : "";
  const continues =
    previous?.type === "m.room.message" &&
    previous.sender === event.sender &&
    sameDay(previous.origin_server_ts, event.origin_server_ts) &&
    event.origin_server_ts - previous.origin_server_ts < SAME_BREATH_MS;
  return {
    kind: "message", key, event, body, continues,
    emote: content.msgtype === "m.emote",
    edited: isEdited(event, edits),
    lineChanged: lines.changed.has(event.event_id),
    ...(related?.type === "m.reference" ? { aboutEntry: related.target } : {}),
  };
}

/** A reply's own words: older apps put the message it answers before them, as quoted lines. */
function withoutQuote(body: string, event: MatrixEvent): string {
  const relates = event.content["m.relates_to"] as { "m.in_reply_to"?: unknown } | undefined;
  if (relates?.["m.in_reply_to"] === undefined) return body;
  return body.replace(/^(?:> .*\n)+\n?/, "");
}

/**
 * State that is not worth a row: a member event that repeats what was, and what a new room comes with (its
 * first name, its creator's own joining), which "created the group" says already.
 */
function changesNothing(event: MatrixEvent, previous: MatrixEvent | undefined): boolean {
  const before = event.unsigned?.prev_content;
  if (event.type === "m.room.name") return before === undefined;
  if (event.type !== "m.room.member") return false;
  if (previous?.type === "m.room.create" && previous.sender === event.state_key) return true;
  return before?.membership === event.content.membership && before?.displayname === event.content.displayname;
}
