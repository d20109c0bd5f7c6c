import { useMemo } from "react";
import { useI18n } from "@/i18n";
import { useLedger } from "@/ledger/queries";
import { localpartOf } from "@/lib/ids";
import { useLive, useRoom } from "@/state/live";

export interface Names {
  /** "Ben"; where two people of the group have the same name, with their user id. */
  of(userId: string): string;
  /** "you" for the reader, else the name. */
  you(userId: string): string;
}

/** The names of a room's people, as the room and its ledger know them. */
export function useNames(roomId: string): Names {
  const members = useRoom(roomId)?.members;
  const participants = useLedger(roomId).data?.participants;
  const { userId } = useLive();
  const { t } = useI18n();
  return useMemo(() => {
    const names = new Map<string, string>();
    for (const person of participants ?? []) if (person.name) names.set(person.user_id, person.name);
    for (const member of members?.values() ?? []) if (member.name) names.set(member.userId, member.name);
    const counts = new Map<string, number>();
    for (const name of names.values()) counts.set(name, (counts.get(name) ?? 0) + 1);
    const of = (id: string) => {
      const name = names.get(id);
      if (name === undefined || name === id) return localpartOf(id);
      return (counts.get(name) ?? 0) > 1 ? `${name} (${id})` : name;
    };
    return { of, you: (id) => (id === userId ? t("common.you") : of(id)) };
  }, [members, participants, userId, t]);
}
