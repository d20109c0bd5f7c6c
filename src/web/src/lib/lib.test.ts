import { describe, expect, it } from "vitest";
import { completeUserId, isUserId, localpartOf, randomId, serverOf } from "./ids";
import { parseRoute, type Route, routeHref } from "./router";
import { calendarDate, dayHeading, sameDay } from "./time";

describe("routes", () => {
  const routes: Route[] = [
    { screen: "home" },
    { screen: "login" },
    { screen: "settings" },
    { screen: "group", roomId: "!a/b%c:example.org", tab: "balances" },
    { screen: "group", roomId: "!a:x", tab: "chat", sheet: { kind: "add" } },
    { screen: "group", roomId: "!a:x", tab: "entries", sheet: { kind: "entry", eventId: "$abc/def+" } },
  ];
  it.each(routes.map((route) => [routeHref(route), route] as const))("%s leads to its screen", (href, route) => {
    expect(parseRoute(href)).toEqual(route);
  });

  it("leads home, or to the chat, from what it does not know", () => {
    expect(parseRoute("#/nowhere")).toEqual({ screen: "home" });
    expect(parseRoute("")).toEqual({ screen: "home" });
    expect(parseRoute("#/group")).toEqual({ screen: "home" });
    expect(parseRoute("#/group/!a:x/nothing")).toEqual({ screen: "group", roomId: "!a:x", tab: "chat" });
    expect(parseRoute("#/group/%E0%A4%A/chat")).toMatchObject({ screen: "group" });
  });
});

describe("ids", () => {
  it("completes a name to a user id of the own server", () => {
    expect(completeUserId(" ben ", "example.org:8448")).toBe("@ben:example.org:8448");
    expect(completeUserId("@ben", "x")).toBe("@ben:x");
    expect(completeUserId("@ben:other.org", "x")).toBe("@ben:other.org");
    expect(completeUserId("", "x")).toBe("");
  });

  it("takes user ids apart", () => {
    expect(localpartOf("@ben:example.org")).toBe("ben");
    expect(localpartOf("carl~@ann:example.org")).toBe("carl");
    expect(serverOf("@ben:example.org:8448")).toBe("example.org:8448");
  });

  it.each([["@ben:example.org", true], ["@ben:localhost:8008", true], ["ben", false], ["@ben", false], ["@:x", false], ["@b en:x", false]])("%s: %s", (text, valid) => {
    expect(isUserId(text)).toBe(valid);
  });

  it("makes ids of 26 plain characters that differ", () => {
    const ids = new Set(Array.from({ length: 200 }, randomId));
    expect(ids.size).toBe(200);
    for (const id of ids) expect(id).toMatch(/^[0-9a-z]{26}$/);
  });
});

describe("dates", () => {
  const noon = new Date(2026, 10, 22, 12).getTime();
  const day = 86_400_000;
  it("are named by how near they are", () => {
    expect(dayHeading(noon, noon, "en-GB")).toBe("today");
    expect(dayHeading(noon - day, noon, "en-GB")).toBe("yesterday");
    expect(dayHeading(noon - 3 * day, noon, "en-GB")).toMatch(/^Thursday.*19 November$/);
    expect(dayHeading(noon - 30 * day, noon, "en-GB")).toBe("23 October");
    expect(dayHeading(noon - 400 * day, noon, "en-GB")).toMatch(/2025/);
    expect(dayHeading(noon, noon, "de-DE")).toBe("heute");
  });

  it("of the wire do not move with the zone", () => {
    expect(calendarDate("2026-11-22", "en-GB")).toBe("22 November 2026");
    expect(calendarDate("soon", "en-GB")).toBe("soon");
  });

  it("knows a day's ends", () => {
    expect(sameDay(new Date(2026, 0, 1, 0, 1).getTime(), new Date(2026, 0, 1, 23, 59).getTime())).toBe(true);
    expect(sameDay(new Date(2026, 0, 1, 23, 59).getTime(), new Date(2026, 0, 2, 0, 1).getTime())).toBe(false);
  });
});
