import { useQuery } from "@tanstack/react-query";
import { useDeferredValue, useEffect, useMemo, useState } from "react";
import { useI18n } from "@/i18n";
import { EXPENSE, type Ledger, type NewEntry } from "@/ledger/types";
import { randomId } from "@/lib/ids";
import { editableAmount, type Parsed, parseTyped, toWire } from "@/lib/money";
import { type EqualEstimate, estimateEqual, exactRemainder, oddCentTakers, type Share, sharesFromWire, splitBody } from "@/lib/split";
import { useLive } from "@/state/live";

export type Method = "equal" | "exact";

export interface ExpenseDraft {
  amount: string;
  title: string;
  currency: string;
  payer: string;
  method: Method;
  /** Those who share an equal split. */
  included: readonly string[];
  /** What was typed per person in an exact split. */
  exact: Readonly<Record<string, string>>;
  date: string;
  notes: string;
}

/** How long typing rests before the ledger is asked what it would sign. */
const PREVIEW_DELAY_MS = 250;

/** Today in the reader's zone, as the wire writes a date. */
function today(): string {
  const now = new Date();
  const two = (value: number) => String(value).padStart(2, "0");
  return `${now.getFullYear()}-${two(now.getMonth() + 1)}-${two(now.getDate())}`;
}

/** The draft of an expense, what it comes to, and what the ledger would make of it. */
export function useExpenseForm(ledger: Ledger) {
  const { locale } = useI18n();
  const { userId } = useLive();
  const people = useMemo(() => ledger.participants.filter((person) => person.membership === "join" || person.membership === "invite").map((person) => person.user_id), [ledger.participants]);
  // One uid for the whole form, so that the odd cents of the preview are those of the entry.
  const [uid] = useState(randomId);
  const [draft, setDraft] = useState<ExpenseDraft>(() => ({
    amount: "", title: "", currency: ledger.currency, payer: userId, method: "equal", included: people, exact: {}, date: today(), notes: "",
  }));
  const change = (part: Partial<ExpenseDraft>) => setDraft((current) => ({ ...current, ...part }));

  const amount = parseTyped(draft.amount, draft.currency, locale);
  const exact = useMemo(() => readExact(draft, people, locale), [draft, people, locale]);
  const minor = amount.ok ? amount.minor : undefined;
  const entry = useMemo(() => entryOf(draft, minor, exact.shares, uid), [draft, minor, exact.shares, uid]);
  const preview = usePreview(ledger.room_id, entry, draft.currency);
  const estimate = draft.method === "equal" && amount.ok ? estimateEqual(amount.minor, draft.included.length) : undefined;
  const remainder = amount.ok ? exactRemainder(amount.minor, exact.shares) : 0n;

  /** Changes to exact amounts, starting from the shares as they are. */
  const setMethod = (method: Method) => {
    if (method === "equal") return change({ method });
    const shares = preview.shares ?? [];
    change({ method, exact: Object.fromEntries(shares.map((share) => [share.who, editableAmount(share.minor, draft.currency, locale)])) });
  };

  return { draft, change, setMethod, people, amount, estimate, exact, remainder, entry, preview, shares: sharesShown(draft, estimate, preview.shares, exact.shares) };
}

export type ExpenseForm = ReturnType<typeof useExpenseForm>;

/** The exact amounts that were typed: those that can be read, and who has one that cannot. */
function readExact(draft: ExpenseDraft, people: readonly string[], locale: string): { shares: Share[]; unreadable: string[] } {
  const shares: Share[] = [];
  const unreadable: string[] = [];
  for (const who of people) {
    const text = draft.exact[who]?.trim() ?? "";
    const parsed: Parsed = parseTyped(text, draft.currency, locale);
    if (parsed.ok) shares.push({ who, minor: parsed.minor });
    else if (parsed.problem !== "empty" && parsed.problem !== "not_positive") unreadable.push(who);
  }
  return { shares, unreadable };
}

/** The entry as it would be sent; undefined while something is missing. A title is not needed for a preview. */
function entryOf(draft: ExpenseDraft, minor: bigint | undefined, exact: readonly Share[], uid: string): NewEntry | undefined {
  if (minor === undefined) return undefined;
  const shares = draft.method === "equal" ? draft.included.map((who) => ({ who, minor: 0n })) : exact;
  if (shares.length === 0) return undefined;
  if (draft.method === "exact" && exactRemainder(minor, exact) !== 0n) return undefined;
  const amount = toWire(minor, draft.currency);
  return {
    type: EXPENSE,
    content: {
      uid, title: draft.title.trim() || "–", currency: draft.currency, amount, date: draft.date,
      split: splitBody(draft.method, shares, draft.currency),
      paid: [{ who: draft.payer, amount }],
      ...(draft.notes.trim() ? { notes: draft.notes.trim() } : {}),
    },
  };
}

/** Asks the ledger, once typing rests, what it would sign. Gives shares only for the entry as it is now. */
function usePreview(roomId: string, entry: NewEntry | undefined, currency: string) {
  const { ledger } = useLive();
  // The words do not change what anybody owes: typing them must not ask again.
  const key = entry?.type === EXPENSE ? JSON.stringify({ ...entry.content, title: "", notes: "" }) : "";
  const settled = useDebounced(key);
  const ready = entry !== undefined && settled === key;
  const { data, error } = useQuery({
    queryKey: ["preview", roomId, settled],
    queryFn: ({ signal }) => ledger.preview(roomId, entry as NewEntry, signal),
    enabled: ready,
    staleTime: Infinity,
    gcTime: 60_000,
    retry: false,
  });
  const shares = useMemo(() => {
    const owed = data?.content.owed;
    return ready && Array.isArray(owed) ? sharesFromWire(owed as { who: string; amount: string }[], currency) : undefined;
  }, [data, ready, currency]);
  return { shares, error: ready ? error : null, odd: shares ? oddCentTakers(shares) : [] };
}

function useDebounced(value: string): string {
  const [settled, setSettled] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(value), PREVIEW_DELAY_MS);
    return () => clearTimeout(timer);
  }, [value]);
  return useDeferredValue(settled);
}

/** The shares to show: the ledger's where it has answered, else the equal estimate without the odd cents. */
function sharesShown(draft: ExpenseDraft, estimate: EqualEstimate | undefined, previewed: Share[] | undefined, exact: Share[]): ReadonlyMap<string, bigint> {
  if (draft.method === "exact") return new Map(exact.map((share) => [share.who, share.minor]));
  if (previewed) return new Map(previewed.map((share) => [share.who, share.minor]));
  return new Map(estimate ? draft.included.map((who) => [who, estimate.base]) : []);
}
