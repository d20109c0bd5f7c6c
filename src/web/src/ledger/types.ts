/** The shapes of the ledger's REST API (spec/api.md). Amounts are decimal strings in the currency's own scale. */
export interface Amount {
  currency: string;
  amount: string;
}

export interface Group {
  room_id: string;
  name: string;
  ledger: string;
  currency: string;
  members: number | string[] | Person[];
  last_ts: number;
  /** The caller's own net position, positive where the caller is owed. */
  balances: Amount[];
}

export interface Total {
  currency: string;
  owed: string;
  owe: string;
}

export interface Person {
  user_id: string;
  name: string;
  avatar_url?: string;
  membership: string;
}

export interface Balance extends Amount {
  who: string;
}

export interface Transfer extends Amount {
  from: string;
  to: string;
  because: string[];
}

export interface Plan {
  transfers: Transfer[];
  exact: boolean;
}

export type PlanKind = "pairwise" | "edges" | "minimal";

export type EntryStatus = "counts" | "pending" | "disputed" | "superseded" | "void" | "conflict" | "unauthorised" | "invalid" | "redacted" | "orphaned" | "noted";

export interface Line {
  who: string;
  amount: string;
}

export interface ExpenseContent {
  uid: string;
  title: string;
  currency: string;
  amount: string;
  paid: Line[];
  owed: Line[];
  split?: { method: string; inputs?: { who: string; value?: string }[] };
  date?: string;
  category?: string;
  notes?: string;
}

export interface SettlementContent {
  uid: string;
  from: string;
  to: string;
  currency: string;
  amount: string;
  rail?: string;
  reference?: string;
}

export interface Verdict {
  event_id: string;
  sender: string;
  verdict: "confirmed" | "disputed";
  reason?: string;
}

export interface Entry {
  event_id: string;
  type: string;
  sender: string;
  origin_server_ts: number;
  status: EntryStatus;
  reason?: string;
  content: Record<string, unknown>;
  line_event_id?: string;
  verdicts?: Verdict[];
  voided_by?: string;
}

export interface Ledger {
  room_id: string;
  name: string;
  ledger: string;
  currency: string;
  participants: Person[];
  balances: Balance[];
  plans: Record<PlanKind, Plan>;
  pending: Entry[];
  heads: string[];
  digest: string;
  entries: number;
  missing: { event_id: string; cited_by: string }[];
  conflicts: { target: string; versions: string[] }[];
  rejects: { event_id: string; sender: string; type: string; reason: string }[];
}

export const EXPENSE = "com.cliquepay.expense";
export const SETTLEMENT = "com.cliquepay.settlement";
export const VERDICT = "com.cliquepay.verdict";
export const VOID = "com.cliquepay.void";
export const OPEN = "com.cliquepay.open";

export type NewEntry =
  | { type: typeof EXPENSE; content: NewExpense }
  | { type: typeof SETTLEMENT; content: NewSettlement }
  | { type: typeof VERDICT; content: { target: string; verdict: "confirmed" | "disputed"; reason?: string } }
  | { type: typeof VOID; content: { target: string; reason?: string } };

export interface NewExpense {
  title: string;
  currency: string;
  amount: string;
  split: { method: "equal"; inputs: { who: string }[] } | { method: "exact"; inputs: { who: string; value: string }[] };
  paid?: Line[];
  date?: string;
  notes?: string;
  uid?: string;
}

export interface NewSettlement {
  from: string;
  to: string;
  currency: string;
  amount: string;
  rail?: string;
  reference?: string;
  uid?: string;
}
