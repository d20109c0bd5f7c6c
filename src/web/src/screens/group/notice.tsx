import { useI18n, type MessageKey } from "@/i18n";
import { useEntryMap } from "@/ledger/queries";
import { readContent } from "@/ledger/read";
import { OPEN, VERDICT, VOID } from "@/ledger/types";
import { formatMoney } from "@/lib/money";
import { routeHref } from "@/lib/router";
import type { Room } from "@/matrix/room-state";
import type { MatrixEvent } from "@/matrix/types";
import { useLive } from "@/state/live";
import type { Names } from "../people";

/** Something that happened to the room or its ledger, as one quiet sentence. */
export function Notice({ room, event, names }: { room: Room; event: MatrixEvent; names: Names }) {
  const text = useNoticeText(room, event, names);
  const target = event.content.target;
  if (typeof target !== "string") return <p className="px-6 py-1.5 text-center text-xs text-muted">{text}</p>;
  return (
    <p className="px-6 text-center text-xs text-muted">
      <a className="inline-flex min-h-(--tap) items-center underline-offset-4 hover:text-ink hover:underline" href={routeHref({ screen: "group", roomId: room.roomId, tab: "chat", sheet: { kind: "entry", eventId: target } })}>
        {text}
      </a>
    </p>
  );
}

function useNoticeText(room: Room, event: MatrixEvent, names: Names): string {
  const { t } = useI18n();
  const { userId } = useLive();
  const about = useEntryLabel(room, event.content.target);
  const mine = event.sender === userId;
  const name = names.of(event.sender);
  switch (event.type) {
    case VERDICT:
      return t(pick(mine, event.content.verdict === "confirmed" ? "notice.confirmed" : "notice.disputed"), { name, entry: about });
    case VOID:
      return t(pick(mine, "notice.voided"), { name, entry: about });
    case OPEN:
      return t(pick(mine, "notice.opened"), { name });
    case "m.room.create":
      return t(pick(mine, "notice.created"), { name });
    case "m.room.name":
      return t(pick(mine, "notice.named"), { name, title: String(event.content.name ?? "") });
    default:
      return membershipText(event, names, userId, t);
  }
}

type TwoVoices<K> = K extends `${infer Base}_me` ? Base : never;

/** The sentence's form for the reader's own doings ("You …") or for somebody else's ("Ben …"). */
function pick(mine: boolean, base: TwoVoices<MessageKey>): MessageKey {
  return (mine ? `${base}_me` : base) as MessageKey;
}

function membershipText(event: MatrixEvent, names: Names, userId: string, t: ReturnType<typeof useI18n>["t"]): string {
  const mine = event.sender === userId;
  const who = event.state_key ?? "";
  const values = { name: names.of(event.sender), person: names.of(who) };
  const before = event.unsigned?.prev_content?.membership;
  switch (event.content.membership) {
    case "join":
      return t(pick(mine, before === "join" ? "notice.renamed" : "notice.joined"), values);
    case "invite":
      return who === userId ? t("notice.invited_you", values) : t(pick(mine, "notice.invited"), values);
    case "leave":
      if (who !== event.sender) return t(pick(mine, "notice.removed"), values);
      return t(pick(mine, before === "invite" ? "notice.declined" : "notice.left"), values);
    default:
      return t("notice.other", values);
  }
}

/** What an entry is called in a sentence: an expense's title, a payment's amount. */
function useEntryLabel(room: Room, target: unknown): string {
  const { t, locale } = useI18n();
  const entries = useEntryMap(room.roomId);
  if (typeof target !== "string") return t("notice.an_entry");
  const event = entries.get(target) ?? room.events.find((candidate) => candidate.event_id === target);
  const read = event && readContent(event.type, event.content);
  if (!read) return t("notice.an_entry");
  if (read.kind === "expense") return t("notice.the_expense", { title: read.title });
  return t("notice.the_payment", { amount: formatMoney(read.amount, read.currency, locale) });
}
