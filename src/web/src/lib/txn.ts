import { useCallback, useRef } from "react";
import { randomId } from "./ids";

/**
 * Transaction ids for a form: the same body keeps its id, so that trying again after a lost answer writes
 * nothing twice; a changed body gets a new one, so that it does not get the first one's answer.
 */
export function useTxnId(): { idFor(body: unknown): string; done(): void } {
  const last = useRef<{ body: string; id: string }>(undefined);
  const idFor = useCallback((body: unknown) => {
    const text = JSON.stringify(body);
    if (last.current?.body !== text) last.current = { body: text, id: randomId() };
    return last.current.id;
  }, []);
  const done = useCallback(() => {
    last.current = undefined;
  }, []);
  return { idFor, done };
}
