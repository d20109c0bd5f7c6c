import { useInfiniteQuery, useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useMemo } from "react";
import { useTxnId } from "@/lib/txn";
import { MatrixError } from "@/matrix/http";
import { useLive } from "@/state/live";
import type { Entry, Ledger, NewEntry } from "./types";

/** My groups and what they come to. */
export function useGroups() {
  const { ledger } = useLive();
  return useQuery({ queryKey: ["groups"], queryFn: ({ signal }) => ledger.groups(signal) });
}

/** One room's ledger. Its error is a MatrixError with 404 where the room has none. */
export function useLedger(roomId: string) {
  const { ledger } = useLive();
  return useQuery<Ledger>({ queryKey: ["ledger", roomId, "now"], queryFn: ({ signal }) => ledger.ledger(roomId, signal) });
}

/** A room's entries, newest first, page by page. */
export function useEntries(roomId: string) {
  const { ledger } = useLive();
  return useInfiniteQuery({
    queryKey: ["ledger", roomId, "entries"],
    queryFn: ({ pageParam, signal }) => ledger.entries(roomId, pageParam, signal),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (page) => page.next_batch,
  });
}

/** The loaded entries by event id. */
export function useEntryMap(roomId: string): ReadonlyMap<string, Entry> {
  const { data } = useEntries(roomId);
  return useMemo(() => new Map(data?.pages.flatMap((page) => page.entries).map((entry) => [entry.event_id, entry])), [data]);
}

export function useEntry(roomId: string, eventId: string) {
  const { ledger } = useLive();
  const known = useEntryMap(roomId).get(eventId);
  return useQuery({
    queryKey: ["ledger", roomId, "entry", eventId],
    queryFn: ({ signal }) => ledger.entry(roomId, eventId, signal),
    placeholderData: known,
  });
}

/** Writes entries; trying the same one again after a lost answer writes it once. */
export function useAddEntry(roomId: string) {
  const { ledger } = useLive();
  const queries = useQueryClient();
  const txn = useTxnId();
  return useMutation({
    mutationFn: (entry: NewEntry) => ledger.add(roomId, txn.idFor(entry), entry),
    onSuccess: () => {
      txn.done();
      void queries.invalidateQueries({ queryKey: ["ledger", roomId] });
      void queries.invalidateQueries({ queryKey: ["groups"] });
    },
  });
}

/** Retries what may get better by itself, never what the server refused. */
export function shouldRetry(failures: number, error: unknown): boolean {
  const refused = error instanceof MatrixError && error.status < 500 && error.status !== 429;
  return !refused && failures < 3;
}
