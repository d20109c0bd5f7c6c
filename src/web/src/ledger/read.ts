import { fromWire } from "@/lib/money";
import type { Entry, ExpenseContent, Line, SettlementContent } from "./types";
import { EXPENSE, SETTLEMENT } from "./types";

/** An expense as the screens need it: amounts read, every field checked. */
export interface Expense {
  kind: "expense";
  title: string;
  currency: string;
  amount: bigint;
  paid: ReadLine[];
  owed: ReadLine[];
  date: string | undefined;
  notes: string | undefined;
  method: string | undefined;
}

export interface Settlement {
  kind: "settlement";
  from: string;
  to: string;
  currency: string;
  amount: bigint;
  reference: string | undefined;
}

export interface ReadLine {
  who: string;
  minor: bigint;
}

/**
 * Reads what anybody may have written. Gives undefined where a field is missing or malformed, so that a
 * card never shows half an entry; whether an entry counts is the ledger's to say.
 */
export function readContent(type: string, content: Readonly<Record<string, unknown>>): Expense | Settlement | undefined {
  if (type === EXPENSE) return readExpense(content as Partial<ExpenseContent>);
  if (type === SETTLEMENT) return readSettlement(content as Partial<SettlementContent>);
  return undefined;
}

function readExpense(content: Partial<ExpenseContent>): Expense | undefined {
  const { title, currency } = content;
  const amount = readAmount(content.amount, currency);
  const paid = readLines(content.paid, currency);
  const owed = readLines(content.owed, currency);
  if (typeof title !== "string" || currency === undefined || amount === undefined || !paid || !owed) return undefined;
  const { date, notes } = content;
  const method = typeof content.split?.method === "string" ? content.split.method : undefined;
  return { kind: "expense", title, currency, amount, paid, owed, date: text(date), notes: text(notes), method };
}

function readSettlement(content: Partial<SettlementContent>): Settlement | undefined {
  const { from, to, currency } = content;
  const amount = readAmount(content.amount, currency);
  if (typeof from !== "string" || typeof to !== "string" || currency === undefined || amount === undefined) return undefined;
  return { kind: "settlement", from, to, currency, amount, reference: text(content.reference) };
}

function readAmount(amount: unknown, currency: unknown): bigint | undefined {
  return typeof amount === "string" && typeof currency === "string" ? fromWire(amount, currency) : undefined;
}

function readLines(lines: unknown, currency: unknown): ReadLine[] | undefined {
  if (!Array.isArray(lines)) return undefined;
  const read: ReadLine[] = [];
  for (const line of lines as Partial<Line>[]) {
    const minor = readAmount(line?.amount, currency);
    if (typeof line?.who !== "string" || minor === undefined) return undefined;
    read.push({ who: line.who, minor });
  }
  return read;
}

function text(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}

/** What an entry does to one person's balance: positive where they are owed more after it. */
export function effectOn(read: Expense | Settlement, userId: string): bigint {
  if (read.kind === "settlement") {
    if (read.from === userId) return read.amount;
    return read.to === userId ? -read.amount : 0n;
  }
  return shareOf(read.paid, userId) - shareOf(read.owed, userId);
}

/** One person's part of some lines. */
export function shareOf(lines: readonly ReadLine[], userId: string): bigint {
  return lines.reduce((total, line) => (line.who === userId ? total + line.minor : total), 0n);
}

/** Everybody whose balance an entry touches, once each. */
export function peopleOf(read: Expense | Settlement): string[] {
  if (read.kind === "settlement") return [read.from, read.to];
  return [...new Set([...read.paid, ...read.owed].map((line) => line.who))];
}

/** Whether this person may say "yes, I got it" or "no" to a settlement now. */
export function awaitsVerdictOf(entry: Entry, userId: string): boolean {
  if (entry.type !== SETTLEMENT || entry.status !== "pending") return false;
  const read = readContent(entry.type, entry.content);
  return read?.kind === "settlement" && read.to === userId;
}

/** Whether this person may take an entry back in the usual way: as its author, while it has an effect. */
export function mayVoid(entry: Entry, userId: string): boolean {
  const undoable = entry.status === "counts" || entry.status === "pending" || entry.status === "disputed" || entry.status === "conflict";
  if (!undoable || entry.sender !== userId) return false;
  const read = readContent(entry.type, entry.content);
  // A payment that counts is the payer's to take back; its payee has said that the money came.
  if (read?.kind === "settlement" && entry.status === "counts") return read.from === userId;
  return read !== undefined;
}
