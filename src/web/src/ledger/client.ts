import type { Http } from "@/matrix/http";
import type { Entry, Group, Ledger, NewEntry, Total } from "./types";

const BASE = "/_matrix/client/unstable/com.cliquepay/v1";
const enc = encodeURIComponent;

/** Errcodes of the ledger's own. */
export const LEDGER_EXISTS = "COM.CLIQUEPAY.LEDGER_EXISTS";
export const ENCRYPTED = "COM.CLIQUEPAY.ENCRYPTED";

/** ISO 4217's own code for "no currency". */
const NO_CURRENCY = "XXX";

export interface NewGroup {
  name: string;
  currency: string;
  invite?: string[];
  preset?: "private_chat";
}

/** The ledger's REST API. Every call throws MatrixError or NetworkError. */
export class LedgerClient {
  constructor(private readonly http: Http) {}

  groups(signal?: AbortSignal): Promise<{ groups: Group[]; totals: Total[] }> {
    return this.http.request("GET", `${BASE}/groups`, { signal });
  }

  createGroup(txnId: string, body: NewGroup): Promise<{ room_id: string; ledger: string }> {
    return this.http.request("PUT", `${BASE}/groups/${enc(txnId)}`, { body });
  }

  /** Opens a ledger in a room that has none. */
  open(roomId: string, txnId: string, currency: string): Promise<{ room_id: string; ledger: string }> {
    return this.http.request("PUT", `${this.room(roomId)}/${enc(txnId)}`, { body: { currency } });
  }

  async ledger(roomId: string, signal?: AbortSignal): Promise<Ledger> {
    const ledger = await this.http.request<Omit<Ledger, "currency"> & { currency: string | null }>("GET", this.room(roomId), { signal });
    // The root may be missing; the balances then still say what they are in.
    return { ...ledger, currency: ledger.currency ?? ledger.balances[0]?.currency ?? NO_CURRENCY };
  }

  /** A page of entries, newest first. */
  entries(roomId: string, from: string | undefined, signal?: AbortSignal): Promise<{ entries: Entry[]; next_batch?: string }> {
    return this.http.request("GET", `${this.room(roomId)}/entries`, { query: { limit: 50, from, dir: "b" }, signal });
  }

  entry(roomId: string, eventId: string, signal?: AbortSignal): Promise<Entry> {
    return this.http.request("GET", `${this.room(roomId)}/entries/${enc(eventId)}`, { signal });
  }

  /** Writes an entry. Repeating the transaction id gives the first answer. */
  add(roomId: string, txnId: string, entry: NewEntry): Promise<{ event_id: string; line_event_id?: string; uid: string; entry: Entry }> {
    return this.http.request("PUT", `${this.room(roomId)}/entries/${enc(txnId)}`, { body: entry });
  }

  /** What would be signed; nothing is written. */
  preview(roomId: string, entry: NewEntry, signal?: AbortSignal): Promise<{ content: Record<string, unknown> }> {
    return this.http.request("POST", `${this.room(roomId)}/preview`, { body: entry, signal });
  }

  private room(roomId: string): string {
    return `${BASE}/rooms/${enc(roomId)}/ledger`;
  }
}
