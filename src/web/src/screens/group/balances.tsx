import { ArrowRight, CircleCheckBig, HandCoins } from "lucide-react";
import { useState } from "react";
import { useI18n } from "@/i18n";
import { useEntryMap } from "@/ledger/queries";
import { awaitsVerdictOf, readContent } from "@/ledger/read";
import type { Entry, Ledger, Plan, PlanKind, Transfer } from "@/ledger/types";
import { cn } from "@/lib/cn";
import { formatMoney, fromWireOrZero } from "@/lib/money";
import { routeHref } from "@/lib/router";
import { useLive } from "@/state/live";
import { Avatar, Note, SectionTitle } from "@/ui/bits";
import { Button } from "@/ui/button";
import { useWide } from "@/ui/media";
import { Amount, BigStanding, RowStanding } from "@/ui/money";
import { Segmented } from "@/ui/segmented";
import { type Names, useNames } from "../people";
import { VerdictButtons } from "./verdict-buttons";

/** "Who owes whom?" */
export function BalancesTab({ ledger }: { ledger: Ledger }) {
  const { t } = useI18n();
  const { userId } = useLive();
  const wide = useWide();
  const names = useNames(ledger.room_id);
  const involvesMe = ledger.plans.edges.transfers.some((transfer) => transfer.from === userId || transfer.to === userId);
  return (
    <>
      <MyStanding ledger={ledger} />
      {involvesMe && !wide ? (
        <Button asChild size="lg">
          <a href={routeHref({ screen: "group", roomId: ledger.room_id, tab: "balances", sheet: { kind: "settle" } })}>
            <HandCoins aria-hidden className="size-5" />
            {t("settle.title")}
          </a>
        </Button>
      ) : null}
      <Pending ledger={ledger} names={names} />
      <Warnings ledger={ledger} />
      <WhoOwesWhom ledger={ledger} names={names} />
      <Everybody ledger={ledger} names={names} />
    </>
  );
}

function MyStanding({ ledger }: { ledger: Ledger }) {
  const { userId } = useLive();
  const mine = ledger.balances
    .filter((balance) => balance.who === userId)
    .map(({ currency, amount }) => ({ currency, minor: fromWireOrZero(amount, currency) }))
    .filter((balance) => balance.minor !== 0n);
  if (mine.length === 0) return <BigStanding minor={0n} currency={ledger.currency} />;
  return (
    <div className="flex flex-wrap gap-x-10 gap-y-4">
      {mine.map(({ currency, minor }) => (
        <BigStanding key={currency} minor={minor} currency={currency} />
      ))}
    </div>
  );
}

/** Payments that wait for the reader's word, then those that wait for somebody else's. */
function Pending({ ledger, names }: { ledger: Ledger; names: Names }) {
  const { t } = useI18n();
  const { userId } = useLive();
  if (ledger.pending.length === 0) return null;
  const mine = ledger.pending.filter((entry) => awaitsVerdictOf(entry, userId));
  const others = ledger.pending.filter((entry) => !mine.includes(entry));
  return (
    <section className="flex flex-col gap-2">
      <SectionTitle>{t("balances.pending")}</SectionTitle>
      {mine.map((entry) => (
        <div key={entry.event_id} className="rounded-xl border border-line bg-surface p-4">
          <VerdictButtons roomId={ledger.room_id} entry={entry} names={names} />
        </div>
      ))}
      {others.map((entry) => (
        <PendingElsewhere key={entry.event_id} entry={entry} roomId={ledger.room_id} names={names} />
      ))}
    </section>
  );
}

function PendingElsewhere({ entry, roomId, names }: { entry: Entry; roomId: string; names: Names }) {
  const { t, locale } = useI18n();
  const { userId } = useLive();
  const read = readContent(entry.type, entry.content);
  if (read?.kind !== "settlement") return null;
  const values = { from: names.of(read.from), to: names.of(read.to), amount: formatMoney(read.amount, read.currency, locale) };
  return (
    <a href={routeHref({ screen: "group", roomId, tab: "balances", sheet: { kind: "entry", eventId: entry.event_id } })} className="rounded-lg bg-warning-soft px-3.5 py-3 text-sm">
      {t(read.from === userId ? "balances.waiting_mine" : "balances.waiting_theirs", values)}
    </a>
  );
}

function Warnings({ ledger }: { ledger: Ledger }) {
  const { t } = useI18n();
  return (
    <>
      {ledger.missing.length > 0 ? <Note title={t("balances.missing_title")}>{t("balances.missing", { count: ledger.missing.length })}</Note> : null}
      {ledger.conflicts.length > 0 ? <Note title={t("balances.conflicts_title")}>{t("balances.conflicts", { count: ledger.conflicts.length })}</Note> : null}
      {ledger.rejects.length > 0 ? <Note title={t("balances.rejects_title")}>{t("balances.rejects", { count: ledger.rejects.length })}</Note> : null}
    </>
  );
}

const PLAN_TEXT = { edges: "plan.edges_text", minimal: "plan.minimal_text", pairwise: "plan.pairwise_text" } as const;

function WhoOwesWhom({ ledger, names }: { ledger: Ledger; names: Names }) {
  const { t } = useI18n();
  const [kind, setKind] = useState<PlanKind>("edges");
  const plan: Plan = ledger.plans[kind];
  const options = [
    { value: "edges", label: t("plan.edges") },
    { value: "minimal", label: t("plan.minimal") },
    { value: "pairwise", label: t("plan.pairwise") },
  ] as const;
  return (
    <section className="flex flex-col gap-2">
      <SectionTitle>{t("balances.who_owes_whom")}</SectionTitle>
      <Segmented<PlanKind> label={t("plan.choose")} value={kind} options={options} onChange={setKind} />
      <p className="text-xs text-muted">
        {t(PLAN_TEXT[kind])} {plan.exact ? "" : t("plan.not_exact")} {ledger.pending.length > 0 ? t("plan.pending_deducted") : ""}
      </p>
      {plan.transfers.length === 0 ? (
        <p className="flex items-center gap-2 py-3 text-muted">
          <CircleCheckBig aria-hidden className="size-5" />
          {t(ledger.pending.length > 0 ? "plan.nothing_pending" : "plan.nothing")}
        </p>
      ) : (
        <ul className="flex flex-col divide-y divide-line">
          {plan.transfers.map((transfer) => (
            <TransferRow key={`${transfer.from} ${transfer.to} ${transfer.currency}`} transfer={transfer} roomId={ledger.room_id} names={names} />
          ))}
        </ul>
      )}
    </section>
  );
}

function TransferRow({ transfer, roomId, names }: { transfer: Transfer; roomId: string; names: Names }) {
  const { t } = useI18n();
  const { userId } = useLive();
  const { from, to, currency } = transfer;
  const minor = fromWireOrZero(transfer.amount, currency);
  const tone = from === userId ? "text-negative" : to === userId ? "text-positive" : "text-ink";
  const reasons = useReasons(roomId, transfer.because);
  const row = (
    <span className="flex min-h-12 items-center gap-2.5 py-1.5">
      <span className="flex min-w-0 flex-1 items-center gap-2">
        <span className={cn("truncate", from === userId && "font-semibold")}>{names.you(from)}</span>
        <ArrowRight role="img" aria-label={t("plan.pays")} className="size-4 shrink-0 text-muted rtl:-scale-x-100" />
        <span className={cn("truncate", to === userId && "font-semibold")}>{names.you(to)}</span>
      </span>
      <Amount minor={minor} currency={currency} className={cn("font-semibold", tone)} />
    </span>
  );
  if (reasons.length === 0) return <li>{row}</li>;
  return (
    <li>
      <details className="group">
        <summary className="list-none rounded-lg [&::-webkit-details-marker]:hidden">
          {row}
          <span className="-mt-2 block pb-2 text-xs text-muted underline-offset-4 group-open:hidden hover:underline">{t("plan.why", { count: reasons.length })}</span>
        </summary>
        <ul className="flex flex-col gap-0.5 pb-3 text-sm text-muted">
          {reasons.map((reason) => (
            <li key={reason.key}>
              {reason.href ? (
                <a className="flex min-h-8 items-center truncate underline-offset-4 hover:underline" href={reason.href}>
                  {reason.text}
                </a>
              ) : (
                reason.text
              )}
            </li>
          ))}
        </ul>
      </details>
    </li>
  );
}

interface Reason {
  key: string;
  text: string;
  href?: string;
}

/** What a transfer stems from: the entries it names, as far as they are loaded, or the ledger's own words. */
function useReasons(roomId: string, because: readonly string[]): Reason[] {
  const { t, locale } = useI18n();
  const entries = useEntryMap(roomId);
  return because.flatMap((reason): Reason[] => {
    const entry = entries.get(reason);
    const read = entry && readContent(entry.type, entry.content);
    if (!read) return reason.startsWith("$") ? [] : [{ key: reason, text: reason }];
    const amount = formatMoney(read.amount, read.currency, locale);
    const text = `${read.kind === "expense" ? read.title : t("card.payment")} · ${amount}`;
    return [{ key: reason, text, href: routeHref({ screen: "group", roomId, tab: "balances", sheet: { kind: "entry", eventId: reason } }) }];
  });
}

/** A row for every balance, and for everybody in the group who has none; the reader first. */
function everybody(ledger: Ledger, userId: string): { who: string; currency: string; minor: bigint }[] {
  const open = ledger.balances.map(({ who, currency, amount }) => ({ who, currency, minor: fromWireOrZero(amount, currency) }));
  const present = ledger.participants.filter((person) => person.membership === "join" || person.membership === "invite");
  const even = present
    .filter((person) => !open.some((row) => row.who === person.user_id))
    .map((person) => ({ who: person.user_id, currency: ledger.currency, minor: 0n }));
  return [...open, ...even].sort((a, b) => Number(b.who === userId) - Number(a.who === userId));
}

function Everybody({ ledger, names }: { ledger: Ledger; names: Names }) {
  const { t } = useI18n();
  const { userId } = useLive();
  const rows = everybody(ledger, userId);
  return (
    <section className="flex flex-col gap-1">
      <SectionTitle>{t("balances.everybody")}</SectionTitle>
      <ul className="flex flex-col divide-y divide-line">
        {rows.map(({ who, currency, minor }) => {
          const words = minor === 0n ? t("money.even_short") : who === userId ? undefined : t(minor > 0n ? "money.is_owed" : "money.owes");
          return (
            <li key={`${who} ${currency}`} className="flex min-h-14 items-center gap-3">
              <Avatar name={names.of(who)} className="size-8" />
              <span className="min-w-0 flex-1 truncate">{names.you(who)}</span>
              <RowStanding minor={minor} currency={currency} {...(words ? { words } : {})} />
            </li>
          );
        })}
      </ul>
    </section>
  );
}
