import { isCustom, scaleOf } from "./currencies";

/**
 * Money is a BigInt of minor units (cents) plus a currency code. On the wire it is a decimal string in
 * the currency's own scale. No function here makes a float out of an amount.
 */
export interface Money {
  minor: bigint;
  currency: string;
}

/** The largest amount the ledger takes: 10^12 whole units. */
const LIMIT_UNITS = 10n ** 12n;

const WIRE = /^(-?)(0|[1-9][0-9]*)(?:\.([0-9]+))?$/;

/** Reads a wire amount ("84.00"). Returns undefined where it is not in the currency's scale. */
export function fromWire(amount: string, currency: string): bigint | undefined {
  const scale = scaleOf(currency);
  const match = WIRE.exec(amount);
  if (!match) return undefined;
  const [, sign, units = "0", written = ""] = match;
  // How many decimals a group's own unit has is for the group to say.
  const decimals = isCustom(currency) ? written.padEnd(scale, "0") : written;
  if (decimals.length !== scale) return undefined;
  const minor = BigInt(units + decimals);
  if (sign && minor === 0n) return undefined;
  return sign ? -minor : minor;
}

/** Reads a wire amount, taking an unreadable one as zero: for sums that are only shown. */
export function fromWireOrZero(amount: string, currency: string): bigint {
  return fromWire(amount, currency) ?? 0n;
}

/** Writes minor units as a wire amount ("84.00", "900", "1.250"). */
export function toWire(minor: bigint, currency: string): string {
  const scale = scaleOf(currency);
  const negative = minor < 0n;
  const digits = (negative ? -minor : minor).toString().padStart(scale + 1, "0");
  const units = digits.slice(0, digits.length - scale);
  const all = digits.slice(digits.length - scale);
  const decimals = isCustom(currency) ? all.replace(/0+$/, "") : all;
  return `${negative ? "-" : ""}${units}${decimals ? `.${decimals}` : ""}`;
}

export type ParseProblem = "empty" | "unreadable" | "too_precise" | "too_large" | "not_positive";
export type Parsed = { ok: true; minor: bigint } | { ok: false; problem: ParseProblem };

/** The locale's decimal and grouping signs. */
function separators(locale: string): { decimal: string; group: string } {
  const parts = new Intl.NumberFormat(locale, { useGrouping: true }).formatToParts(1234567.5);
  return {
    decimal: parts.find((part) => part.type === "decimal")?.value ?? ".",
    group: parts.find((part) => part.type === "group")?.value ?? ",",
  };
}

/**
 * Finds the decimal sign in what a person typed. Keyboards offer a comma or a dot whatever the app's
 * language is, so both are taken; only "1,234" in a locale that groups by comma is a thousand.
 */
function decimalIndex(text: string, locale: string): number {
  const last = Math.max(text.lastIndexOf("."), text.lastIndexOf(","));
  if (last < 0) return -1;
  const sign = text.charAt(last);
  const other = sign === "." ? "," : ".";
  const repeats = text.indexOf(sign) !== last;
  if (repeats) return -1;
  if (text.includes(other)) return last;
  const { decimal, group } = separators(locale);
  const threeFollow = text.length - last - 1 === 3;
  if (sign !== decimal && sign === group && threeFollow && last > 0) return -1;
  return last;
}

/** Digits, plain or grouped by one sign: in threes, or as in India in twos before the last three. */
const UNITS = /^(?:[0-9]*|[0-9]{1,3}(?:,[0-9]{2,3})*,[0-9]{3}|[0-9]{1,3}(?:\.[0-9]{2,3})*\.[0-9]{3})$/;

/** Reads an amount as a person types it: "84", "84,5", "1.234,56", "€ 12.00". Only positive amounts. */
export function parseTyped(text: string, currency: string, locale: string): Parsed {
  const cleaned = text.replace(/[\s'’_\p{Sc}]/gu, "");
  if (cleaned === "") return { ok: false, problem: "empty" };
  if (!/^[0-9.,]+$/.test(cleaned)) return { ok: false, problem: "unreadable" };
  const at = decimalIndex(cleaned, locale);
  const whole = at < 0 ? cleaned : cleaned.slice(0, at);
  const decimals = at < 0 ? "" : cleaned.slice(at + 1);
  const scale = scaleOf(currency);
  if (!UNITS.test(whole) || !/^[0-9]*$/.test(decimals) || !/[0-9]/.test(cleaned)) return { ok: false, problem: "unreadable" };
  const units = whole.replace(/[.,]/g, "") || "0";
  if (decimals.replace(/0+$/, "").length > scale) return { ok: false, problem: "too_precise" };
  const minor = BigInt(units + decimals.slice(0, scale).padEnd(scale, "0"));
  if (minor > LIMIT_UNITS * 10n ** BigInt(scale)) return { ok: false, problem: "too_large" };
  if (minor === 0n) return { ok: false, problem: "not_positive" };
  return { ok: true, minor };
}

export type SignDisplay = "auto" | "always" | "never";

const formats = new Map<string, Intl.NumberFormat>();

/** Writes an amount for a reader: "€84.00", "84,00 €", "¥900". The digits are exact. */
export function formatMoney(minor: bigint, currency: string, locale: string, sign: SignDisplay = "auto"): string {
  const key = `${locale}|${currency}|${sign}`;
  let format = formats.get(key);
  if (!format) {
    format = newFormat(currency, locale, sign);
    formats.set(key, format);
  }
  // A decimal string keeps every digit; a number would go through a float.
  const text = format.format(toWire(minor, currency) as Intl.StringNumericLiteral);
  // Intl knows no units of a group's own.
  return isCustom(currency) ? `${text}\u00a0${currency.slice(2)}` : text;
}

function newFormat(currency: string, locale: string, sign: SignDisplay): Intl.NumberFormat {
  const scale = scaleOf(currency);
  const digits = { minimumFractionDigits: isCustom(currency) ? 0 : scale, maximumFractionDigits: scale };
  const signDisplay = sign === "always" ? "exceptZero" : sign;
  try {
    return new Intl.NumberFormat(locale, { style: "currency", currency, currencyDisplay: "narrowSymbol", signDisplay, ...digits });
  } catch {
    return new Intl.NumberFormat(locale, { signDisplay, ...digits });
  }
}

/** The amount as an editable text in the locale's own decimal sign, without a currency sign: "84,00". */
export function editableAmount(minor: bigint, currency: string, locale: string): string {
  return toWire(minor, currency).replace(".", separators(locale).decimal);
}

/** The currency's sign as the locale writes it ("€", "CHF"). */
export function currencySign(currency: string, locale: string): string {
  try {
    const parts = new Intl.NumberFormat(locale, { style: "currency", currency, currencyDisplay: "narrowSymbol" }).formatToParts(0);
    return parts.find((part) => part.type === "currency")?.value ?? currency;
  } catch {
    return currency;
  }
}

/** The sum of some amounts in minor units. */
export function sum(amounts: readonly bigint[]): bigint {
  return amounts.reduce((total, amount) => total + amount, 0n);
}
