import { HandCoins, ReceiptText } from "lucide-react";
import { useI18n } from "@/i18n";
import { useEntries } from "@/ledger/queries";
import { type Expense, readContent, type Settlement } from "@/ledger/read";
import { type Entry, EXPENSE, SETTLEMENT } from "@/ledger/types";
import { cn } from "@/lib/cn";
import { explain } from "@/lib/problem";
import { routeHref } from "@/lib/router";
import { shortDate } from "@/lib/time";
import { useLive } from "@/state/live";
import { Badge, Empty, Note, SkeletonRows } from "@/ui/bits";
import { Button } from "@/ui/button";
import { Amount } from "@/ui/money";
import { type Names, useNames } from "../people";
import { Effect, headline, Mark } from "./cards";
import { statusView } from "./status";

/** Everything that was written down, newest first, with what became of it. */
export function EntriesTab({ roomId }: { roomId: string }) {
  const { t } = useI18n();
  const names = useNames(roomId);
  const { data, error, isPending, hasNextPage, fetchNextPage, isFetchingNextPage, refetch } = useEntries(roomId);
  if (isPending) return <SkeletonRows rows={6} label={t("common.loading")} />;
  if (!data) {
    return (
      <Note role="alert" action={<Button variant="secondary" onClick={() => void refetch()}>{t("common.try_again")}</Button>}>
        {explain(error, t)}
      </Note>
    );
  }
  const entries = data.pages.flatMap((page) => page.entries).filter((entry) => entry.type === EXPENSE || entry.type === SETTLEMENT);
  if (entries.length === 0 && !hasNextPage) {
    return (
      <Empty icon={ReceiptText} title={t("entries.empty_title")}>
        {t("entries.empty")}
      </Empty>
    );
  }
  return (
    <>
      <ul aria-label={t("tab.entries")} className="-mx-2 -my-2 flex flex-col">
        {entries.map((entry) => (
          <li key={entry.event_id}>
            <EntryRow entry={entry} roomId={roomId} names={names} />
          </li>
        ))}
      </ul>
      {hasNextPage ? (
        <Button variant="secondary" disabled={isFetchingNextPage} onClick={() => void fetchNextPage()}>
          {t(isFetchingNextPage ? "common.loading" : "entries.more")}
        </Button>
      ) : null}
    </>
  );
}

function EntryRow({ entry, roomId, names }: { entry: Entry; roomId: string; names: Names }) {
  const { t, locale } = useI18n();
  const { userId } = useLive();
  const read = readContent(entry.type, entry.content);
  const view = statusView(entry.status);
  return (
    <a
      href={routeHref({ screen: "group", roomId, tab: "entries", sheet: { kind: "entry", eventId: entry.event_id } })}
      className="flex min-h-16 items-center gap-3 rounded-lg px-2 py-2.5 hover:bg-sunken"
    >
      <Mark icon={entry.type === SETTLEMENT ? HandCoins : ReceiptText} />
      <span className="min-w-0 flex-1">
        <span className={cn("line-clamp-2 leading-5 font-medium [overflow-wrap:anywhere]", view?.struck && "text-muted")}>{titleOf(read, t)}</span>
        <span className="block truncate text-sm text-muted">
          {read ? headline(read, userId, names, t) : t("card.unreadable", { name: names.of(entry.sender) })}
          <span aria-hidden> · </span>
          {shortDate(entry.origin_server_ts, locale)}
        </span>
      </span>
      {read ? (
        <span className="flex shrink-0 flex-col items-end gap-0.5">
          <Amount minor={read.amount} currency={read.currency} className={cn("font-semibold", view?.struck && "text-muted line-through")} />
          {view ? <Badge tone={view.tone} icon={view.icon}>{t(view.label)}</Badge> : <ShortEffect read={read} userId={userId} />}
        </span>
      ) : view ? (
        <Badge tone={view.tone} icon={view.icon}>{t(view.label)}</Badge>
      ) : null}
    </a>
  );
}

function titleOf(read: Expense | Settlement | undefined, t: ReturnType<typeof useI18n>["t"]): string {
  if (!read) return t("card.unreadable_title");
  return read.kind === "expense" ? read.title : t("card.payment");
}

function ShortEffect({ read, userId }: { read: Expense | Settlement; userId: string }) {
  return (
    <span className="text-xs [&_*]:text-xs">
      <Effect read={read} userId={userId} />
    </span>
  );
}
