import { useSyncExternalStore } from "react";

/** Where the reader is. The address is kept in the URL's fragment, so that any static server can serve the app. */
export type GroupTab = "chat" | "balances" | "entries" | "people";
export type Sheet = { kind: "add" } | { kind: "settle" } | { kind: "entry"; eventId: string };
export type Route =
  | { screen: "home" }
  | { screen: "login" }
  | { screen: "signup" }
  | { screen: "new" }
  | { screen: "settings" }
  | { screen: "group"; roomId: string; tab: GroupTab; sheet?: Sheet };

const TABS: readonly string[] = ["chat", "balances", "entries", "people"];

/** Reads a fragment ("#/group/!a:b/balances"). Whatever it does not know leads home. */
export function parseRoute(hash: string): Route {
  const [head, ...rest] = hash.replace(/^#?\/?/, "").split("/").map(decode);
  switch (head) {
    case "login":
    case "signup":
    case "new":
    case "settings":
      return { screen: head };
    case "group":
      return parseGroup(rest);
    default:
      return { screen: "home" };
  }
}

function parseGroup([roomId, tab = "chat", kind, id]: string[]): Route {
  if (!roomId) return { screen: "home" };
  const route: Route = { screen: "group", roomId, tab: (TABS.includes(tab) ? tab : "chat") as GroupTab };
  if (kind === "add" || kind === "settle") return { ...route, sheet: { kind } };
  if (kind === "entry" && id) return { ...route, sheet: { kind, eventId: id } };
  return route;
}

/** Writes a route as a fragment. */
export function routeHref(route: Route): string {
  if (route.screen === "home") return "#/";
  if (route.screen !== "group") return `#/${route.screen}`;
  const parts = ["group", route.roomId, route.tab];
  if (route.sheet) parts.push(route.sheet.kind);
  if (route.sheet?.kind === "entry") parts.push(route.sheet.eventId);
  return `#/${parts.map(encodeURIComponent).join("/")}`;
}

/** Goes to a route; with `replace` the place that is left is not kept in the history. */
export function navigate(route: Route, options: { replace?: boolean } = {}): void {
  const href = routeHref(route);
  if (options.replace) {
    history.replaceState(null, "", href);
    window.dispatchEvent(new HashChangeEvent("hashchange"));
  } else {
    window.location.hash = href;
  }
}

let leftHash: string | undefined;
if (typeof window !== "undefined") {
  window.addEventListener("hashchange", (event) => {
    leftHash = event.oldURL ? new URL(event.oldURL).hash : undefined;
  });
}

/**
 * Returns to a route from something opened over it: one step back where that is where the reader came from, so
 * that the history does not grow with every sheet; else to the route in its place.
 */
export function returnTo(route: Route): void {
  if (leftHash === routeHref(route)) history.back();
  else navigate(route, { replace: true });
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

function subscribe(listener: () => void): () => void {
  window.addEventListener("hashchange", listener);
  return () => window.removeEventListener("hashchange", listener);
}

/** The current fragment; the component is drawn again when it changes. */
export function useHash(): string {
  return useSyncExternalStore(subscribe, () => window.location.hash);
}
