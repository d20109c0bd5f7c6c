import { HandCoins, type LucideIcon, ReceiptText } from "lucide-react";
import { useI18n } from "@/i18n";
import { awaitsVerdictOf, effectOn, type Expense, readContent, type Settlement } from "@/ledger/read";
import type { Entry } from "@/ledger/types";
import { cn } from "@/lib/cn";
import { routeHref } from "@/lib/router";
import { timeOfDay } from "@/lib/time";
import { isRedacted } from "@/matrix/room-state";
import type { MatrixEvent } from "@/matrix/types";
import { useLive } from "@/state/live";
import { Badge } from "@/ui/bits";
import { Amount, standing } from "@/ui/money";
import type { Names } from "../people";
import { statusView } from "./status";
import { VerdictButtons } from "./verdict-buttons";

interface Props {
  roomId: string;
  event: MatrixEvent;
  /** The ledger's word on it; undefined while it has not been loaded. */
  entry: Entry | undefined;
  names: Names;
}

/** An entry in the chat. */
export function EntryCard({ roomId, event, entry, names }: Props) {
  const { t, locale } = useI18n();
  const { userId } = useLive();
  const read = readContent(event.type, event.content);
  const mine = event.sender === userId;
  if (!read) return <Unreadable text={t(isRedacted(event) || entry?.status === "redacted" ? "card.redacted" : "card.unreadable", { name: names.of(event.sender) })} />;
  const view = entry && statusView(entry.status);
  const waiting = entry !== undefined && awaitsVerdictOf(entry, userId);
  return (
    <article aria-label={read.kind === "expense" ? read.title : t("card.payment")} className={cn("flex flex-col pt-3", mine ? "items-end" : "items-start")}>
      <div className="w-full max-w-sm overflow-hidden rounded-xl border border-line bg-surface">
        <a
          href={routeHref({ screen: "group", roomId, tab: "chat", sheet: { kind: "entry", eventId: event.event_id } })}
          className="flex flex-col gap-2.5 px-4 py-3 -outline-offset-2 hover:bg-sunken"
        >
          <div className="flex items-start gap-3">
            <Mark icon={read.kind === "expense" ? ReceiptText : HandCoins} />
            <div className="min-w-0 flex-1">
              <p className="leading-5 font-medium [overflow-wrap:anywhere]">{read.kind === "expense" ? read.title : t("card.payment")}</p>
              <p className="pt-0.5 text-sm text-muted">{headline(read, userId, names, t)}</p>
            </div>
            <Amount minor={read.amount} currency={read.currency} className={cn("leading-5 font-semibold", view?.struck && "text-muted line-through")} />
          </div>
          <div className="flex min-h-6 items-center justify-between gap-2 text-sm">
            {view ? <Badge tone={view.tone} icon={view.icon}>{t(view.label)}</Badge> : <Effect read={read} userId={userId} />}
            <time className="text-xs text-muted tabular-nums" dateTime={new Date(event.origin_server_ts).toISOString()}>
              {timeOfDay(event.origin_server_ts, locale)}
            </time>
          </div>
        </a>
        {waiting ? (
          <div className="border-t border-line px-4 py-3">
            <VerdictButtons roomId={roomId} entry={entry} names={names} />
          </div>
        ) : null}
      </div>
    </article>
  );
}

export function Mark({ icon: Icon }: { icon: LucideIcon }) {
  return (
    <span aria-hidden className="grid size-10 shrink-0 place-items-center rounded-lg bg-sunken text-muted">
      <Icon className="size-5" strokeWidth={1.75} />
    </span>
  );
}

function Unreadable({ text }: { text: string }) {
  return <p className="mt-3 w-fit rounded-xl border border-dashed border-line-strong px-4 py-3 text-sm text-muted">{text}</p>;
}

/** Who paid, as a line under the title. */
export function headline(read: Expense | Settlement, userId: string, names: Names, t: ReturnType<typeof useI18n>["t"]): string {
  if (read.kind === "settlement") {
    if (read.from === userId) return t("card.you_paid_to", { to: names.of(read.to) });
    return read.to === userId ? t("card.paid_you", { from: names.of(read.from) }) : t("card.paid_to", { from: names.of(read.from), to: names.of(read.to) });
  }
  const payers = read.paid.filter((line) => line.minor !== 0n);
  const only = payers.length === 1 ? payers[0] : undefined;
  if (!only) return t("card.several_paid", { count: payers.length });
  return only.who === userId ? t("card.you_paid") : t("card.paid", { name: names.of(only.who) });
}

/** What the entry does to the reader's own balance. */
export function Effect({ read, userId }: { read: Expense | Settlement; userId: string }) {
  const { t } = useI18n();
  const effect = effectOn(read, userId);
  const involved = read.kind === "settlement" ? effect !== 0n : [...read.paid, ...read.owed].some((line) => line.who === userId);
  if (!involved) return <span className="text-sm text-muted">{t("card.not_involved")}</span>;
  if (read.kind === "settlement") return <span className="text-sm text-muted">{t("status.confirmed")}</span>;
  const { icon: Icon, tone } = standing(effect);
  const words = effect > 0n ? "card.you_lent" : effect < 0n ? "card.you_borrowed" : "card.even";
  return (
    <span className={cn("flex items-center gap-1 text-sm", tone)}>
      <Icon aria-hidden className="size-4" />
      <span className="max-[359px]:sr-only">{t(words)}</span>
      {effect === 0n ? null : <Amount minor={effect} currency={read.currency} sign="always" className="font-semibold" />}
    </span>
  );
}
