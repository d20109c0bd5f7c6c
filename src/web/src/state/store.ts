import type { MatrixClient } from "@/matrix/client";
import { applySync, NO_ROOMS, prependOlder, type Room, type Rooms, roomsWithLedgerNews, withEcho, withoutEcho } from "@/matrix/room-state";
import { type Connection, runSync } from "@/matrix/sync-loop";
import { randomId } from "@/lib/ids";
import type { SyncResponse } from "@/matrix/types";

export interface LiveState {
  rooms: Rooms;
  connection: Connection;
  /** False until the first /sync has answered. */
  ready: boolean;
}

export interface LiveListeners {
  onLedgerNews(roomIds: string[]): void;
  onRoomsChanged(): void;
  onSignedOut(): void;
}

/** The account's rooms as they are now, kept current by the sync loop; a store for useSyncExternalStore. */
export class LiveStore {
  private state: LiveState = { rooms: NO_ROOMS, connection: "connecting", ready: false };
  private readonly listeners = new Set<() => void>();
  private readonly paging = new Set<string>();

  constructor(
    private readonly client: MatrixClient,
    private readonly userId: string,
    private readonly on: LiveListeners,
  ) {}

  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  readonly get = (): LiveState => this.state;

  /** Follows the account until the returned function is called. */
  start(): () => void {
    const controller = new AbortController();
    const handlers = {
      onResponse: (response: SyncResponse) => this.take(response),
      onConnection: (connection: Connection) => this.set({ connection }),
      onSignedOut: () => this.on.onSignedOut(),
    };
    // The browser may know before a request has failed.
    const onOffline = () => this.set({ connection: "offline" });
    window.addEventListener("offline", onOffline);
    void runSync(this.client, handlers, controller.signal);
    return () => {
      window.removeEventListener("offline", onOffline);
      controller.abort();
    };
  }

  private take(response: SyncResponse): void {
    const before = this.state.rooms;
    const rooms = applySync(before, response, this.userId);
    this.set({ rooms, ready: true });
    const news = roomsWithLedgerNews(response);
    if (news.length > 0) this.on.onLedgerNews(news);
    if (rooms.joined.size !== before.joined.size || rooms.invites.size !== before.invites.size) this.on.onRoomsChanged();
  }

  /** Shows a message at once and sends it; when that fails it stays, marked, until it is retried or dropped. */
  async send(roomId: string, body: string, txnId = randomId()): Promise<void> {
    const ts = Date.now();
    this.update(roomId, (room) => withEcho(room, { txnId, body, ts, status: "sending" }));
    try {
      const { event_id: eventId } = await this.client.send(roomId, "m.room.message", txnId, { msgtype: "m.text", body });
      this.update(roomId, (room) => withEcho(room, { txnId, body, ts, status: "sending", eventId }));
    } catch {
      this.update(roomId, (room) => withEcho(room, { txnId, body, ts, status: "failed" }));
    }
  }

  dropEcho(roomId: string, txnId: string): void {
    this.update(roomId, (room) => withoutEcho(room, txnId));
  }

  /** Fetches a page of older events. Does nothing while one is under way or where the room starts. Throws as the client does. */
  async loadOlder(roomId: string): Promise<void> {
    const from = this.state.rooms.joined.get(roomId)?.prevBatch;
    if (from === undefined || this.paging.has(roomId)) return;
    this.paging.add(roomId);
    try {
      const page = await this.client.messages(roomId, from);
      this.update(roomId, (room) => (room.prevBatch === from ? prependOlder(room, page.chunk, page.end) : room));
    } finally {
      this.paging.delete(roomId);
    }
  }

  private update(roomId: string, change: (room: Room) => Room): void {
    const room = this.state.rooms.joined.get(roomId);
    if (!room) return;
    const joined = new Map(this.state.rooms.joined).set(roomId, change(room));
    this.set({ rooms: { ...this.state.rooms, joined } });
  }

  private set(change: Partial<LiveState>): void {
    this.state = { ...this.state, ...change };
    for (const listener of this.listeners) listener();
  }
}
