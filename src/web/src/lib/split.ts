import { fromWire, sum, toWire } from "./money";

/** One person's share, in minor units. */
export interface Share {
  who: string;
  minor: bigint;
}

/** What an equal split gives before the ledger has said who takes the odd cents. */
export interface EqualEstimate {
  /** What everybody owes at least. */
  base: bigint;
  /** Minor units left over, always fewer than there are people. */
  odd: number;
}

/** Splits an amount equally, leaving open who takes the odd cents. Undefined without people. */
export function estimateEqual(total: bigint, people: number): EqualEstimate | undefined {
  if (people <= 0 || total < 0n) return undefined;
  const count = BigInt(people);
  return { base: total / count, odd: Number(total % count) };
}

/** Reads the shares of an entry's content; undefined as soon as one of them is not a valid amount. */
export function sharesFromWire(owed: readonly { who: string; amount: string }[], currency: string): Share[] | undefined {
  const shares: Share[] = [];
  for (const line of owed) {
    const minor = fromWire(line.amount, currency);
    if (minor === undefined) return undefined;
    shares.push({ who: line.who, minor });
  }
  return shares;
}

/** Those who take one minor unit more than the smallest share of an equal split. */
export function oddCentTakers(shares: readonly Share[]): string[] {
  const least = shares.reduce<bigint | undefined>((min, share) => (min === undefined || share.minor < min ? share.minor : min), undefined);
  if (least === undefined) return [];
  return shares.filter((share) => share.minor === least + 1n).map((share) => share.who);
}

/** What an exact split still lacks (positive) or has too much (negative). */
export function exactRemainder(total: bigint, shares: readonly Share[]): bigint {
  return total - sum(shares.map((share) => share.minor));
}

export type SplitBody =
  | { method: "equal"; inputs: { who: string }[] }
  | { method: "exact"; inputs: { who: string; value: string }[] };

/** The `split` of a new expense as the API takes it. */
export function splitBody(method: "equal" | "exact", shares: readonly Share[], currency: string): SplitBody {
  if (method === "equal") return { method, inputs: shares.map(({ who }) => ({ who })) };
  return { method, inputs: shares.map(({ who, minor }) => ({ who, value: toWire(minor, currency) })) };
}
