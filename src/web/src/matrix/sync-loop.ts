import { MatrixError } from "./http";
import type { MatrixClient } from "./client";
import type { SyncResponse } from "./types";

export type Connection = "connecting" | "online" | "offline";

export interface SyncHandlers {
  onResponse(response: SyncResponse): void;
  onConnection(connection: Connection): void;
  /** The access token no longer holds: the person has to log in again. */
  onSignedOut(): void;
}

const LONG_POLL_MS = 30_000;
const FIRST_WAIT_MS = 1_000;
const LONGEST_WAIT_MS = 30_000;

/** How long to wait before the attempt after `failures` failed ones; `random` is between 0 and 1. */
export function backoff(failures: number, random: number): number {
  const ceiling = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** (failures - 1));
  return ceiling / 2 + (ceiling / 2) * random;
}

/** Follows the account's news until `signal` aborts. Failures are retried without end, ever more slowly. */
export async function runSync(client: MatrixClient, handlers: SyncHandlers, signal: AbortSignal): Promise<void> {
  let since: string | undefined;
  let failures = 0;
  while (!signal.aborted) {
    try {
      // After a failure ask for an answer at once, so that "offline" goes away as soon as it is untrue.
      const response = await untilOnline(signal, (until) => client.sync(since, failures > 0 ? 0 : LONG_POLL_MS, until));
      since = response.next_batch;
      failures = 0;
      handlers.onConnection("online");
      handlers.onResponse(response);
    } catch (error) {
      if (signal.aborted) return;
      if (isSignedOut(error)) return handlers.onSignedOut();
      failures += 1;
      handlers.onConnection("offline");
      const asked = error instanceof MatrixError ? (error.retryAfter ?? 0) : 0;
      await pause(Math.max(asked, backoff(failures, Math.random())), signal);
    }
  }
}

/**
 * One request that is given up when the network comes back: a poll from before may hang on a dead connection
 * for minutes.
 */
async function untilOnline<T>(signal: AbortSignal, request: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  const abort = () => controller.abort();
  window.addEventListener("online", abort);
  signal.addEventListener("abort", abort);
  try {
    return await request(controller.signal);
  } finally {
    window.removeEventListener("online", abort);
    signal.removeEventListener("abort", abort);
  }
}

function isSignedOut(error: unknown): boolean {
  return error instanceof MatrixError && error.status === 401;
}

/** Waits, but not longer than until the browser says that the network is back. */
function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      window.removeEventListener("online", done);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    window.addEventListener("online", done);
    signal.addEventListener("abort", done);
  });
}
