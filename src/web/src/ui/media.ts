import { useSyncExternalStore } from "react";

/** From this width on chat and ledger stand side by side. */
const WIDE = "(min-width: 1024px)";

const query = typeof window !== "undefined" && typeof window.matchMedia === "function" ? window.matchMedia(WIDE) : undefined;

export function useWide(): boolean {
  return useSyncExternalStore(subscribe, () => query?.matches ?? false);
}

function subscribe(listener: () => void): () => void {
  query?.addEventListener("change", listener);
  return () => query?.removeEventListener("change", listener);
}
