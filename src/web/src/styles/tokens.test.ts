// @vitest-environment node
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";

const css = readFileSync(new URL("./tokens.css", import.meta.url), "utf8");

function tokens(block: string): Map<string, string> {
  return new Map([...block.matchAll(/--([\w-]+):\s*(#[0-9a-f]{6})/g)].map((match) => [match[1] ?? "", match[2] ?? ""]));
}

const [lightBlock = "", darkBlock = ""] = css.split(':root[data-theme="dark"]');
const themes = { light: tokens(lightBlock), dark: tokens(darkBlock) };

/** WCAG's relative luminance and contrast ratio. */
function luminance(hex: string): number {
  const [r = 0, g = 0, b = 0] = [1, 3, 5].map((at) => {
    const value = parseInt(hex.slice(at, at + 2), 16) / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

function contrast(a: string, b: string): number {
  const [high = 0, low = 0] = [luminance(a), luminance(b)].sort((x, y) => y - x);
  return (high + 0.05) / (low + 0.05);
}

const AA = 4.5;
const AAA = 7;
const LINES = 3;
const grounds = ["paper", "surface", "sunken"];
const pairs: [string, string, number][] = [
  ...grounds.flatMap((ground): [string, string, number][] => [
    ["ink", ground, AAA],
    ["positive", ground, AAA],
    ["negative", ground, AAA],
    ["ink-muted", ground, AA],
    ["ink-faint", ground, AA],
    ["accent", ground, AA],
    ["line-strong", ground, LINES],
  ]),
  ["ink", "raised", AAA],
  ["on-accent", "accent", AA],
  ["on-accent", "accent-hover", AA],
  ["accent", "accent-soft", AA],
  ["ink", "accent-soft", AAA],
  ["ink-muted", "accent-soft", AA],
  ...["positive", "negative", "warning"].flatMap((tone): [string, string, number][] => [
    [tone, `${tone}-soft`, AA],
    ["ink", `${tone}-soft`, AA],
  ]),
];

describe.each(Object.entries(themes))("the %s theme", (_, theme) => {
  it.each(pairs)("%s on %s has a contrast of at least %d", (text, ground, least) => {
    expect(contrast(theme.get(text) ?? "", theme.get(ground) ?? "")).toBeGreaterThanOrEqual(least);
  });
});

it("both themes give the same colours a value", () => {
  expect([...themes.dark.keys()].sort()).toEqual([...themes.light.keys()].sort());
});
