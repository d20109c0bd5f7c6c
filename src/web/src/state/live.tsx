import { useQueryClient } from "@tanstack/react-query";
import { createContext, type ReactNode, useContext, useEffect, useMemo, useState, useSyncExternalStore } from "react";
import { LedgerClient } from "@/ledger/client";
import { MatrixClient } from "@/matrix/client";
import { Http } from "@/matrix/http";
import type { Room } from "@/matrix/room-state";
import type { Session } from "./session";
import { type LiveState, LiveStore } from "./store";

/** Everything a screen needs of the person who is logged in. */
export interface Live {
  userId: string;
  matrix: MatrixClient;
  ledger: LedgerClient;
  store: LiveStore;
  /** Ends the session here and on the server. */
  signOut(): Promise<void>;
}

export const LiveContext = createContext<Live | undefined>(undefined);

interface Props {
  session: Session;
  onSignedOut(reason: "asked" | "expired"): void;
  children: ReactNode;
}

/** Runs the sync loop while it is mounted and refetches what news has made stale. */
export function LiveProvider({ session, onSignedOut, children }: Props) {
  const queries = useQueryClient();
  const clients = useMemo(() => {
    const http = new Http("", session.accessToken);
    return { matrix: new MatrixClient(http), ledger: new LedgerClient(http) };
  }, [session.accessToken]);
  const [store] = useState(
    () =>
      new LiveStore(clients.matrix, session.userId, {
        onLedgerNews: (roomIds) => {
          for (const roomId of roomIds) void queries.invalidateQueries({ queryKey: ["ledger", roomId] });
          void queries.invalidateQueries({ queryKey: ["groups"] });
        },
        onRoomsChanged: () => void queries.invalidateQueries({ queryKey: ["groups"] }),
        onSignedOut: () => onSignedOut("expired"),
      }),
  );
  useEffect(() => store.start(), [store]);

  const live = useMemo<Live>(
    () => ({
      userId: session.userId,
      ...clients,
      store,
      signOut: async () => {
        // The device forgets the session even where the server cannot be told.
        await clients.matrix.logout().catch(() => undefined);
        onSignedOut("asked");
      },
    }),
    [session.userId, clients, store, onSignedOut],
  );
  return <LiveContext value={live}>{children}</LiveContext>;
}

export function useLive(): Live {
  const live = useContext(LiveContext);
  if (!live) throw new Error("useLive outside of LiveProvider");
  return live;
}

/** The rooms and the connection as they are now. */
export function useLiveState(): LiveState {
  const { store } = useLive();
  return useSyncExternalStore(store.subscribe, store.get);
}

export function useRoom(roomId: string): Room | undefined {
  return useLiveState().rooms.joined.get(roomId);
}
