import type { JoinedRoomUpdate, MatrixEvent, StrippedEvent, SyncResponse } from "./types";

export type Membership = "join" | "invite" | "leave" | "ban" | "knock";

export interface Member {
  userId: string;
  name: string | undefined;
  membership: Membership;
}

/** A message this device has sent and the server has not yet given back. */
export interface LocalEcho {
  txnId: string;
  body: string;
  ts: number;
  status: "sending" | "failed";
  /** Known once the server has acknowledged it. */
  eventId?: string;
}

export interface Room {
  roomId: string;
  name: string | undefined;
  encrypted: boolean;
  members: ReadonlyMap<string, Member>;
  /** In the room's order, oldest first, without gaps. */
  events: readonly MatrixEvent[];
  echoes: readonly LocalEcho[];
  /** Where older events are asked for; undefined where the room starts with the first event here. */
  prevBatch: string | undefined;
  unread: number;
}

export interface Invite {
  roomId: string;
  name: string | undefined;
  inviter: string | undefined;
  inviterName: string | undefined;
}

export interface Rooms {
  since: string | undefined;
  joined: ReadonlyMap<string, Room>;
  invites: ReadonlyMap<string, Invite>;
}

export const NO_ROOMS: Rooms = { since: undefined, joined: new Map(), invites: new Map() };

/** Takes one /sync answer in. Pure: gives a new value and leaves the old one as it was. */
export function applySync(rooms: Rooms, response: SyncResponse, userId: string): Rooms {
  const joined = new Map(rooms.joined);
  const invites = new Map(rooms.invites);
  for (const [roomId, update] of Object.entries(response.rooms?.join ?? {})) {
    joined.set(roomId, applyUpdate(joined.get(roomId) ?? emptyRoom(roomId), update));
    invites.delete(roomId);
  }
  for (const [roomId, update] of Object.entries(response.rooms?.invite ?? {})) {
    invites.set(roomId, readInvite(roomId, update.invite_state?.events ?? [], userId));
    joined.delete(roomId);
  }
  for (const roomId of Object.keys(response.rooms?.leave ?? {})) {
    joined.delete(roomId);
    invites.delete(roomId);
  }
  return { since: response.next_batch, joined, invites };
}

function emptyRoom(roomId: string): Room {
  return { roomId, name: undefined, encrypted: false, members: new Map(), events: [], echoes: [], prevBatch: undefined, unread: 0 };
}

function applyUpdate(room: Room, update: JoinedRoomUpdate): Room {
  const timeline = update.timeline?.events ?? [];
  const changes = [...(update.state?.events ?? []), ...timeline.filter((event) => event.state_key !== undefined)];
  // After a gap the older part is dropped: paging brings it back without a hole.
  const restart = room.events.length === 0 || update.timeline?.limited === true;
  const events = restart ? applyRedactions(unique(timeline)) : mergeNewer(room.events, timeline);
  return {
    ...room,
    ...changes.reduce(applyState, { name: room.name, encrypted: room.encrypted, members: room.members }),
    events,
    echoes: withoutArrived(room.echoes, timeline),
    prevBatch: restart && timeline.length > 0 ? update.timeline?.prev_batch : room.prevBatch,
    unread: update.unread_notifications?.notification_count ?? room.unread,
  };
}

type StateView = Pick<Room, "name" | "encrypted" | "members">;

function applyState(view: StateView, event: MatrixEvent): StateView {
  switch (event.type) {
    case "m.room.name":
      return { ...view, name: text(event.content.name) };
    case "m.room.encryption":
      return { ...view, encrypted: true };
    case "m.room.member":
      return { ...view, members: withMember(view.members, event) };
    default:
      return view;
  }
}

function withMember(members: ReadonlyMap<string, Member>, event: MatrixEvent): ReadonlyMap<string, Member> {
  const userId = event.state_key;
  if (!userId) return members;
  // Somebody who left keeps the name the room knew them by.
  const name = text(event.content.displayname) ?? (event.content.membership === "join" ? undefined : members.get(userId)?.name);
  const membership = (text(event.content.membership) ?? "leave") as Membership;
  return new Map(members).set(userId, { userId, name, membership });
}

/** Events of a page of older ones (newest first, as the server gives them) put before the known ones. */
export function prependOlder(room: Room, chunk: readonly MatrixEvent[], end: string | undefined): Room {
  const known = new Set(room.events.map((event) => event.event_id));
  const older = [...chunk].reverse().filter((event) => !known.has(event.event_id));
  return { ...room, events: applyRedactions([...older, ...room.events]), prevBatch: chunk.length === 0 ? undefined : end };
}

function mergeNewer(events: readonly MatrixEvent[], newer: readonly MatrixEvent[]): readonly MatrixEvent[] {
  if (newer.length === 0) return events;
  const known = new Set(events.map((event) => event.event_id));
  const fresh = unique(newer).filter((event) => !known.has(event.event_id));
  return applyRedactions([...events, ...fresh]);
}

function unique(events: readonly MatrixEvent[]): MatrixEvent[] {
  const seen = new Set<string>();
  return events.filter((event) => !seen.has(event.event_id) && seen.add(event.event_id));
}

/** Empties what a redaction among the events takes back. */
function applyRedactions(events: readonly MatrixEvent[]): readonly MatrixEvent[] {
  const targets = new Set(events.filter((event) => event.type === "m.room.redaction").map(redactionTarget));
  if (targets.size === 0) return events;
  return events.map((event) => (targets.has(event.event_id) ? redacted(event) : event));
}

function redacted(event: MatrixEvent): MatrixEvent {
  return { ...event, content: {}, unsigned: { ...event.unsigned, redacted_because: true } };
}

function redactionTarget(event: MatrixEvent): string | undefined {
  return text(event.content.redacts) ?? text((event as unknown as Record<string, unknown>).redacts);
}

/** Whether an event's content has been taken back. */
export function isRedacted(event: MatrixEvent): boolean {
  return event.unsigned?.redacted_because !== undefined;
}

function withoutArrived(echoes: readonly LocalEcho[], timeline: readonly MatrixEvent[]): readonly LocalEcho[] {
  if (echoes.length === 0) return echoes;
  const txns = new Set(timeline.map((event) => event.unsigned?.transaction_id));
  const ids = new Set(timeline.map((event) => event.event_id));
  return echoes.filter((echo) => !txns.has(echo.txnId) && !(echo.eventId && ids.has(echo.eventId)));
}

/** Adds or changes a local echo; one whose event has already come back is dropped. */
export function withEcho(room: Room, echo: LocalEcho): Room {
  const arrived = room.events.some((event) => event.event_id === echo.eventId || event.unsigned?.transaction_id === echo.txnId);
  const others = room.echoes.filter((other) => other.txnId !== echo.txnId);
  if (arrived) return { ...room, echoes: others };
  const known = room.echoes.some((other) => other.txnId === echo.txnId);
  return { ...room, echoes: known ? room.echoes.map((other) => (other.txnId === echo.txnId ? echo : other)) : [...others, echo] };
}

export function withoutEcho(room: Room, txnId: string): Room {
  return { ...room, echoes: room.echoes.filter((echo) => echo.txnId !== txnId) };
}

function readInvite(roomId: string, events: readonly StrippedEvent[], userId: string): Invite {
  const own = events.find((event) => event.type === "m.room.member" && event.state_key === userId);
  const inviter = own?.sender;
  const inviterMember = events.find((event) => event.type === "m.room.member" && event.state_key === inviter);
  const name = events.find((event) => event.type === "m.room.name");
  return { roomId, name: text(name?.content.name), inviter, inviterName: text(inviterMember?.content.displayname) };
}

function text(value: unknown): string | undefined {
  return typeof value === "string" && value.trim() !== "" ? value : undefined;
}

/** Rooms in which an answer brought ledger entries or redactions: their balances may have changed. */
export function roomsWithLedgerNews(response: SyncResponse): string[] {
  return Object.entries(response.rooms?.join ?? {})
    .filter(([, update]) => update.timeline?.limited || (update.timeline?.events ?? []).some(touchesLedger))
    .map(([roomId]) => roomId);
}

function touchesLedger(event: MatrixEvent): boolean {
  return event.type.startsWith("com.cliquepay.") || event.type === "m.room.redaction" || event.type === "m.room.member";
}
