import { describe, expect, it } from "vitest";
import { currencySign, editableAmount, formatMoney, fromWire, parseTyped, sum, toWire } from "./money";

/** Intl writes narrow and non-breaking spaces; the tests are about digits and signs. */
const plain = (text: string) => text.replace(/\s/gu, " ").replace(/\u2212/g, "-");

describe("amounts on the wire", () => {
  it.each([
    ["84.00", "EUR", 8400n],
    ["0.05", "EUR", 5n],
    ["-12.30", "USD", -1230n],
    ["900", "JPY", 900n],
    ["1.250", "KWD", 1250n],
    ["999999999999.99", "EUR", 99999999999999n],
  ])("%s %s is %s minor units, and back", (text, currency, minor) => {
    expect(fromWire(text, currency)).toBe(minor);
    expect(toWire(minor, currency)).toBe(text);
  });

  it.each([
    ["84", "EUR"],
    ["84.0", "EUR"],
    ["84.000", "EUR"],
    ["900.0", "JPY"],
    ["-0.00", "EUR"],
    ["084.00", "EUR"],
    ["84,00", "EUR"],
    [" 84.00", "EUR"],
    ["8e1", "EUR"],
    ["", "EUR"],
  ])("refuses %j in %s", (text, currency) => {
    expect(fromWire(text, currency)).toBeUndefined();
  });
});

describe("amounts as people type them", () => {
  it.each([
    ["84", "en-GB", 8400n],
    ["84.5", "en-GB", 8450n],
    ["84,50", "en-GB", 8450n],
    ["1,234", "en-GB", 123400n],
    ["1,234.56", "en-GB", 123456n],
    ["1.234", "de-DE", 123400n],
    ["1.234,56", "de-DE", 123456n],
    ["84.50", "de-DE", 8450n],
    ["€ 12.00", "en-GB", 1200n],
    ["1 234,56", "de-DE", 123456n],
    ["1,234,567", "en-GB", 123456700n],
    ["1,00,000", "en-IN", 10000000n],
    [".5", "en-GB", 50n],
    ["12.500", "en-GB", 1250n],
    ["10.", "en-GB", 1000n],
  ])("%j in %s", (text, locale, minor) => {
    expect(parseTyped(text, "EUR", locale)).toEqual({ ok: true, minor });
  });

  it.each([
    ["", "EUR", "empty"],
    ["abc", "EUR", "unreadable"],
    ["-5", "EUR", "unreadable"],
    ["1.2.3,4,5", "EUR", "unreadable"],
    ["12,34,5", "EUR", "unreadable"],
    ["1,23.45,6", "EUR", "unreadable"],
    [".", "EUR", "unreadable"],
    ["12.345", "EUR", "too_precise"],
    ["9.5", "JPY", "too_precise"],
    ["0", "EUR", "not_positive"],
    ["1000000000000.01", "EUR", "too_large"],
  ])("refuses %j in %s: %s", (text, currency, problem) => {
    expect(parseTyped(text, currency, "en-GB")).toEqual({ ok: false, problem });
  });
});

describe("amounts as people read them", () => {
  it("follows the reader's locale and the currency's scale", () => {
    expect(plain(formatMoney(8400n, "EUR", "en-GB"))).toBe("€84.00");
    expect(plain(formatMoney(8400n, "EUR", "de-DE"))).toBe("84,00 €");
    expect(plain(formatMoney(900n, "JPY", "en-GB"))).toBe("¥900");
    expect(plain(formatMoney(1250n, "KWD", "en-GB"))).toContain("1.250");
  });

  it("shows a sign where it is asked to, and none on zero", () => {
    expect(plain(formatMoney(5600n, "EUR", "en-GB", "always"))).toBe("+€56.00");
    expect(plain(formatMoney(-5600n, "EUR", "en-GB", "always"))).toBe("-€56.00");
    expect(plain(formatMoney(0n, "EUR", "en-GB", "always"))).toBe("€0.00");
  });

  it("keeps every digit of amounts that a float could not hold", () => {
    expect(plain(formatMoney(12345678901234567n, "EUR", "en-GB"))).toBe("€123,456,789,012,345.67");
  });

  it("still shows an amount whose currency has no ISO code", () => {
    expect(plain(formatMoney(fromWire("1.5", "x-beer") ?? 0n, "x-beer", "en-GB"))).toBe("1.5 beer");
    expect(plain(formatMoney(fromWire("3", "x-beer") ?? 0n, "x-beer", "en-GB"))).toBe("3 beer");
    expect(toWire(fromWire("1.25", "x-beer") ?? 0n, "x-beer")).toBe("1.25");
    expect(currencySign("x-beer", "en-GB")).toBe("x-beer");
  });

  it("offers an amount for editing in the locale's decimal sign", () => {
    expect(editableAmount(8405n, "EUR", "de-DE")).toBe("84,05");
    expect(editableAmount(8405n, "EUR", "en-GB")).toBe("84.05");
  });
});

it("sums exactly", () => {
  expect(sum([10n, -3n, 99999999999999999n])).toBe(100000000000000006n);
});
