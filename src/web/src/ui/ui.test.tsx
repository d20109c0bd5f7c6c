import { cleanup, render, screen } from "@testing-library/react";
import { afterEach, expect, it, vi } from "vitest";
import { CrashGuard } from "./crash";
import { LinkedText } from "./linked-text";
import { BigStanding, RowStanding } from "./money";

afterEach(cleanup);

const text = () => (document.body.textContent ?? "").replace(/\u2212/g, "-");

it.each([
  [5600n, "You are owed+€56.00", "lucide-arrow-down-left", "text-positive"],
  [-5600n, "You owe-€56.00", "lucide-arrow-up-right", "text-negative"],
  [0n, "You are all settled up", "lucide-check", "text-muted"],
])("a balance of %d cents differs by words, sign, icon and colour", (minor, words, icon, colour) => {
  const { container } = render(<BigStanding minor={minor} currency="EUR" />);
  expect(text()).toBe(words);
  expect(container.querySelector(`.${icon}`)).not.toBeNull();
  expect(container.querySelector(`.${colour}`)).not.toBeNull();
});

it("an amount never wraps and has tabular figures", () => {
  const { container } = render(<RowStanding minor={123n} currency="EUR" />);
  expect(container.querySelector(".money")?.textContent).toBe("+€1.23");
});

it("web addresses in a text become links, without the full stop after them, and nothing else does", () => {
  render(<LinkedText text={'See https://example.org/a?b=1. Or javascript:alert(1) <b>now</b>'} />);
  expect(screen.getAllByRole("link").map((link) => link.getAttribute("href"))).toEqual(["https://example.org/a?b=1"]);
  expect(text()).toBe("See https://example.org/a?b=1. Or javascript:alert(1) <b>now</b>");
});

it("a screen that fails to draw says so and offers to reload", () => {
  vi.spyOn(console, "error").mockImplementation(() => undefined);
  const Broken = () => {
    throw new Error("broken");
  };
  render(<CrashGuard><Broken /></CrashGuard>);
  screen.getByText("This page failed to draw");
  screen.getByRole("button", { name: "Reload" });
});
