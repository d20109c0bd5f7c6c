import { Undo2 } from "lucide-react";
import { type ReactNode, useState } from "react";
import { useI18n } from "@/i18n";
import { useAddEntry, useEntry, useLedger } from "@/ledger/queries";
import { awaitsVerdictOf, effectOn, type Expense, mayVoid, peopleOf, readContent, type ReadLine, type Settlement } from "@/ledger/read";
import { type Entry, type Ledger, VOID } from "@/ledger/types";
import { cn } from "@/lib/cn";
import { fromWireOrZero } from "@/lib/money";
import { explain } from "@/lib/problem";
import { calendarDate, fullDate } from "@/lib/time";
import { useLive } from "@/state/live";
import { Note, SectionTitle, Skeleton, SkeletonRows } from "@/ui/bits";
import { Button } from "@/ui/button";
import { Amount, RowStanding } from "@/ui/money";
import { Sheet } from "@/ui/sheet";
import { toast } from "@/ui/toast";
import { type Names, useNames } from "../people";
import { Effect, headline } from "./cards";
import { statusView } from "./status";
import { VerdictButtons } from "./verdict-buttons";

interface Props {
  roomId: string;
  eventId: string;
  onClose(): void;
}

/** One entry: what it says, where it stands, and what can be done about it. */
export function EntrySheet({ roomId, eventId, onClose }: Props) {
  const { t } = useI18n();
  const { data: entry, error, refetch } = useEntry(roomId, eventId);
  const names = useNames(roomId);
  const read = entry && readContent(entry.type, entry.content);
  const title = read?.kind === "settlement" ? t("card.payment") : (read?.title ?? t("entry.title"));
  return (
    <Sheet title={title} onClose={onClose}>
      {entry ? (
        <EntryBody roomId={roomId} entry={entry} read={read} names={names} onClose={onClose} />
      ) : error ? (
        <Note role="alert" action={<Button variant="secondary" onClick={() => void refetch()}>{t("common.try_again")}</Button>}>
          {explain(error, t)}
        </Note>
      ) : (
        <div className="flex flex-col gap-5">
          <Skeleton className="h-12 w-40" />
          <SkeletonRows rows={3} label={t("common.loading")} />
        </div>
      )}
    </Sheet>
  );
}

interface BodyProps {
  roomId: string;
  entry: Entry;
  read: Expense | Settlement | undefined;
  names: Names;
  onClose(): void;
}

function EntryBody({ roomId, entry, read, names, onClose }: BodyProps) {
  const { t } = useI18n();
  const { userId } = useLive();
  const view = statusView(entry.status);
  return (
    <div className="flex flex-col gap-6">
      {read ? (
        <header className="flex flex-col gap-1">
          <p className="text-sm text-muted">{headline(read, userId, names, t)}</p>
          <Amount minor={read.amount} currency={read.currency} className={cn("text-[2.5rem] leading-12 font-semibold tracking-tight", view?.struck && "text-muted line-through")} />
          {view ? null : <Effect read={read} userId={userId} />}
        </header>
      ) : (
        <p>{t("card.unreadable", { name: names.of(entry.sender) })}</p>
      )}
      <StatusNote entry={entry} read={read} names={names} />
      {awaitsVerdictOf(entry, userId) ? (
        <div className="rounded-xl border border-line bg-surface p-4">
          <VerdictButtons roomId={roomId} entry={entry} names={names} />
        </div>
      ) : null}
      {read?.kind === "expense" ? <ExpenseLines read={read} names={names} /> : null}
      <Facts entry={entry} read={read} names={names} />
      {read && mayVoid(entry, userId) ? <VoidPart roomId={roomId} entry={entry} read={read} names={names} onDone={onClose} /> : null}
    </div>
  );
}

/** The status in a plain sentence, with the reason where somebody gave one. */
function StatusNote({ entry, read, names }: { entry: Entry; read: Expense | Settlement | undefined; names: Names }) {
  const { t } = useI18n();
  const { userId } = useLive();
  const view = statusView(entry.status);
  if (!view) return null;
  const dispute = entry.verdicts?.find((verdict) => verdict.verdict === "disputed");
  const payee = read?.kind === "settlement" ? read.to : undefined;
  const reason = entry.status === "disputed" ? dispute?.reason : entry.reason;
  const forMe = entry.status === "pending" && payee === userId;
  return (
    <Note tone={view.tone} icon={view.icon} title={t(view.label)}>
      {t(forMe ? "status.pending_me_text" : view.sentence, { name: payee ? names.of(payee) : names.of(entry.sender) })}
      {reason ? <span className="block pt-1">{t("status.reason", { reason })}</span> : null}
    </Note>
  );
}

function ExpenseLines({ read, names }: { read: Expense; names: Names }) {
  const { t } = useI18n();
  const payers = read.paid.filter((line) => line.minor !== 0n);
  return (
    <>
      {payers.length > 1 ? <Lines title={t("entry.paid")} lines={payers} currency={read.currency} names={names} /> : null}
      <Lines title={t(read.method === "equal" ? "entry.shares_equal" : "entry.shares")} lines={read.owed} currency={read.currency} names={names} />
    </>
  );
}

function Lines({ title, lines, currency, names }: { title: string; lines: readonly ReadLine[]; currency: string; names: Names }) {
  return (
    <section className="flex flex-col">
      <SectionTitle>{title}</SectionTitle>
      <ul className="flex flex-col divide-y divide-line">
        {lines.map((line) => (
          <li key={line.who} className="flex min-h-11 items-center justify-between gap-3">
            <span className="min-w-0 truncate">{names.you(line.who)}</span>
            <Amount minor={line.minor} currency={currency} className="font-medium" />
          </li>
        ))}
      </ul>
    </section>
  );
}

function Facts({ entry, read, names }: { entry: Entry; read: Expense | Settlement | undefined; names: Names }) {
  const { t, locale } = useI18n();
  const facts: [string, ReactNode][] = [];
  if (read?.kind === "expense" && read.date) facts.push([t("entry.date"), calendarDate(read.date, locale)]);
  if (read?.kind === "expense" && read.notes) facts.push([t("entry.notes"), read.notes]);
  if (read?.kind === "settlement" && read.reference) facts.push([t("entry.notes"), read.reference]);
  facts.push([t("entry.written_by"), names.you(entry.sender)], [t("entry.written_at"), fullDate(entry.origin_server_ts, locale)]);
  return (
    <dl className="grid grid-cols-[auto_1fr] gap-x-6 gap-y-1.5 text-sm">
      {facts.map(([label, value]) => (
        <div key={label} className="contents">
          <dt className="text-muted">{label}</dt>
          <dd className="min-w-0 text-end [overflow-wrap:anywhere]">{value}</dd>
        </div>
      ))}
    </dl>
  );
}

interface VoidProps {
  roomId: string;
  entry: Entry;
  read: Expense | Settlement;
  names: Names;
  onDone(): void;
}

/** Taking an entry back: first what everybody's balance will be, then the button. */
function VoidPart({ roomId, entry, read, names, onDone }: VoidProps) {
  const { t } = useI18n();
  const { data: ledger } = useLedger(roomId);
  const add = useAddEntry(roomId);
  const [asking, setAsking] = useState(false);
  if (!asking) {
    return (
      <Button variant="danger" onClick={() => setAsking(true)}>
        <Undo2 aria-hidden className="size-4.5" />
        {t("void.ask")}
      </Button>
    );
  }
  const take = () =>
    add.mutate({ type: VOID, content: { target: entry.event_id } }, {
      onSuccess: () => {
        toast(t("void.done"));
        onDone();
      },
    });
  return (
    <section className="flex flex-col gap-3 rounded-xl border border-line bg-surface p-4">
      <p className="text-sm">{t("void.explain")}</p>
      {ledger ? <After ledger={ledger} entry={entry} read={read} names={names} /> : null}
      {add.error ? <Note tone="negative" role="alert" title={t("void.failed")}>{explain(add.error, t)}</Note> : null}
      <div className="flex gap-2">
        <Button variant="danger" className="flex-1" disabled={add.isPending} onClick={take}>
          {t("void.now")}
        </Button>
        <Button variant="quiet" disabled={add.isPending} onClick={() => setAsking(false)}>
          {t("common.back")}
        </Button>
      </div>
    </section>
  );
}

function After({ ledger, entry, read, names }: { ledger: Ledger; entry: Entry; read: Expense | Settlement; names: Names }) {
  const { t } = useI18n();
  const { userId } = useLive();
  const counts = entry.status === "counts" || entry.status === "conflict";
  if (!counts) return <p className="text-sm text-muted">{t("void.no_change")}</p>;
  return (
    <div>
      <SectionTitle>{t("void.after")}</SectionTitle>
      <ul className="flex flex-col divide-y divide-line">
        {peopleOf(read).map((who) => {
          const minor = balanceOf(ledger, who, read.currency) - effectOn(read, who);
          const words = who === userId ? undefined : t(minor > 0n ? "money.is_owed" : minor < 0n ? "money.owes" : "money.even_short");
          return (
            <li key={who} className="flex min-h-12 items-center justify-between gap-3">
              <span className="min-w-0 truncate">{names.you(who)}</span>
              <RowStanding minor={minor} currency={read.currency} {...(words ? { words } : {})} />
            </li>
          );
        })}
      </ul>
    </div>
  );
}

/** One person's balance in one currency, zero where the ledger names none. */
export function balanceOf(ledger: Ledger, who: string, currency: string): bigint {
  const balance = ledger.balances.find((candidate) => candidate.who === who && candidate.currency === currency);
  return balance ? fromWireOrZero(balance.amount, currency) : 0n;
}
