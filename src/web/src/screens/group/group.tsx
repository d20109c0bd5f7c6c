import { ArrowLeft, HandCoins, MessageCircle, Plus, ReceiptText, Scale, Users } from "lucide-react";
import { type ReactNode, useEffect, useState } from "react";
import { useI18n } from "@/i18n";
import { ENCRYPTED } from "@/ledger/client";
import { useLedger } from "@/ledger/queries";
import type { Ledger } from "@/ledger/types";
import { cn } from "@/lib/cn";
import { fromWireOrZero } from "@/lib/money";
import { explain } from "@/lib/problem";
import { type GroupTab, returnTo, type Route, routeHref, type Sheet as SheetRoute } from "@/lib/router";
import { MatrixError } from "@/matrix/http";
import type { Room } from "@/matrix/room-state";
import { useLive, useLiveState, useRoom } from "@/state/live";
import { Avatar, Empty, Note, Skeleton, SkeletonRows } from "@/ui/bits";
import { Button } from "@/ui/button";
import { useWide } from "@/ui/media";
import { Amount, standing } from "@/ui/money";
import { BarItem, BottomBar } from "../shell";
import { AddExpenseSheet } from "./add-expense";
import { BalancesTab } from "./balances";
import { ChatTab } from "./chat";
import { EntriesTab } from "./entries";
import { EntrySheet } from "./entry-sheet";
import { OpenLedger } from "./open-ledger";
import { PeopleTab } from "./people-tab";
import { SettleSheet } from "./settle";

interface Props {
  roomId: string;
  tab: GroupTab;
  sheet: SheetRoute | undefined;
}

/** "What happened, and who owes whom?" */
export function GroupScreen({ roomId, tab, sheet }: Props) {
  const { t } = useI18n();
  const room = useRoom(roomId);
  const { ready } = useLiveState();
  const wide = useWide();
  const patient = usePatience();
  if (!room) {
    return (
      <main className="flex-1 overflow-y-auto px-5 py-6">
        {ready && !patient ? (
          <Empty icon={MessageCircle} title={t("group.not_found_title")} action={<Button asChild variant="secondary"><a href={routeHref({ screen: "home" })}>{t("nav.home")}</a></Button>}>
            {t("group.not_found")}
          </Empty>
        ) : (
          <SkeletonRows rows={6} label={t("common.loading")} />
        )}
      </main>
    );
  }
  const close = () => returnTo({ screen: "group", roomId, tab });
  return (
    <>
      <Header room={room} />
      {wide ? <WideBody room={room} tab={tab} /> : <NarrowBody room={room} tab={tab} />}
      {sheet?.kind === "add" ? <AddExpenseSheet roomId={roomId} onClose={close} /> : null}
      {sheet?.kind === "settle" ? <SettleSheet roomId={roomId} onClose={close} /> : null}
      {sheet?.kind === "entry" ? <EntrySheet roomId={roomId} eventId={sheet.eventId} onClose={close} /> : null}
    </>
  );
}

/** How long a room that was just made or joined may take to arrive. */
const ARRIVAL_MS = 5_000;

/** True at first, and false once a room should have arrived. */
function usePatience(): boolean {
  const [patient, setPatient] = useState(true);
  useEffect(() => {
    const timer = setTimeout(() => setPatient(false), ARRIVAL_MS);
    return () => clearTimeout(timer);
  }, []);
  return patient;
}

function Header({ room }: { room: Room }) {
  const { t } = useI18n();
  const wide = useWide();
  const { data: ledger } = useLedger(room.roomId);
  const name = room.name ?? ledger?.name ?? t("group.unnamed");
  useEffect(() => {
    document.title = `${name} · CliquePay`;
    return () => {
      document.title = "CliquePay";
    };
  }, [name]);
  return (
    <header className="flex h-(--header-height) shrink-0 items-center gap-2.5 border-b border-line bg-surface ps-1 pe-4 lg:ps-5">
      {wide ? null : (
        <Button asChild variant="quiet" size="icon">
          <a href={routeHref({ screen: "home" })} aria-label={t("nav.home")}>
            <ArrowLeft aria-hidden className="size-5 rtl:-scale-x-100" />
          </a>
        </Button>
      )}
      <Avatar name={name} square className="size-9" />
      <div className="min-w-0 flex-1">
        <h1 className="truncate leading-5 font-semibold">{name}</h1>
        {ledger ? <HeaderStanding ledger={ledger} /> : <p className="truncate text-xs text-muted">{t("group.people", { count: joinedCount(room) })}</p>}
      </div>
    </header>
  );
}

function joinedCount(room: Room): number {
  return [...room.members.values()].filter((member) => member.membership === "join").length;
}

/** My balance, always in sight. */
function HeaderStanding({ ledger }: { ledger: Ledger }) {
  const { t } = useI18n();
  const { userId } = useLive();
  const mine = ledger.balances
    .filter((balance) => balance.who === userId)
    .map(({ currency, amount }) => ({ currency, minor: fromWireOrZero(amount, currency) }))
    .filter((balance) => balance.minor !== 0n);
  const shown = mine.length > 0 ? mine : [{ currency: ledger.currency, minor: 0n }];
  return (
    <p data-testid="my-standing" className="flex flex-wrap gap-x-3 overflow-hidden text-xs">
      {shown.map(({ currency, minor }) => {
        const { words, icon: Icon, tone } = standing(minor);
        return (
          <span key={currency} className={cn("flex items-center gap-1", tone)}>
            <Icon aria-hidden className="size-3.5" />
            {t(words)}
            {minor === 0n ? null : <Amount minor={minor < 0n ? -minor : minor} currency={currency} className="font-medium" />}
          </span>
        );
      })}
    </p>
  );
}

const TABS = [
  { tab: "chat", icon: MessageCircle, label: "tab.chat" },
  { tab: "balances", icon: Scale, label: "tab.balances" },
  { tab: "entries", icon: ReceiptText, label: "tab.entries" },
  { tab: "people", icon: Users, label: "tab.people" },
] as const;

function NarrowBody({ room, tab }: { room: Room; tab: GroupTab }) {
  const { t } = useI18n();
  const { roomId } = room;
  const { data: ledger } = useLedger(roomId);
  const item = ({ tab: target, icon, label }: (typeof TABS)[number]) => (
    <BarItem key={target} icon={icon} label={t(label)} href={routeHref({ screen: "group", roomId, tab: target })} current={tab === target} />
  );
  return (
    <>
      {tab === "chat" ? <ChatTab room={room} /> : <main className="contents"><Scroll><LedgerTab room={room} tab={tab} /></Scroll></main>}
      <BottomBar label={t("nav.group")}>
        {TABS.slice(0, 2).map(item)}
        {ledger ? <BarItem icon={Plus} label={t("tab.add")} href={routeHref({ screen: "group", roomId, tab, sheet: { kind: "add" } })} prominent /> : null}
        {TABS.slice(2).map(item)}
      </BottomBar>
    </>
  );
}

function WideBody({ room, tab }: { room: Room; tab: GroupTab }) {
  const { t } = useI18n();
  const { roomId } = room;
  const { data: ledger } = useLedger(roomId);
  const ledgerTab = tab === "chat" ? "balances" : tab;
  const sheetHref = (kind: "add" | "settle") => routeHref({ screen: "group", roomId, tab, sheet: { kind } } as Route);
  return (
    <div className="flex min-h-0 flex-1">
      <div className="flex min-w-0 flex-1 flex-col">
        <ChatTab room={room} />
      </div>
      <aside aria-label={t("group.ledger")} className="flex w-88 shrink-0 flex-col xl:w-104 border-s border-line">
        {ledger ? (
          <div className="flex gap-2 px-5 pt-4">
            <Button asChild className="flex-1">
              <a href={sheetHref("add")}><Plus aria-hidden className="size-4.5" />{t("tab.add_long")}</a>
            </Button>
            <Button asChild variant="secondary" className="flex-1">
              <a href={sheetHref("settle")}><HandCoins aria-hidden className="size-4.5" />{t("settle.title")}</a>
            </Button>
          </div>
        ) : null}
        <nav aria-label={t("nav.group")} className="flex gap-5 border-b border-line px-5 pt-2">
          {TABS.slice(1).map(({ tab: target, label }) => (
            <a
              key={target}
              href={routeHref({ screen: "group", roomId, tab: target })}
              aria-current={ledgerTab === target ? "page" : undefined}
              className="-mb-px flex min-h-(--tap) items-center border-b-2 border-transparent text-sm text-muted hover:text-ink aria-[current]:border-accent aria-[current]:font-medium aria-[current]:text-ink"
            >
              {t(label)}
            </a>
          ))}
        </nav>
        <Scroll>
          <LedgerTab room={room} tab={ledgerTab} />
        </Scroll>
      </aside>
    </div>
  );
}

function Scroll({ children }: { children: ReactNode }) {
  return (
    <div className="min-h-0 flex-1 overflow-y-auto overscroll-contain">
      <div className="mx-auto flex w-full max-w-2xl flex-col gap-6 px-5 py-5">{children}</div>
    </div>
  );
}

function LedgerTab({ room, tab }: { room: Room; tab: GroupTab }) {
  const { t } = useI18n();
  const { data, error, isPending, refetch } = useLedger(room.roomId);
  if (tab === "people") return <PeopleTab room={room} />;
  if (isPending) {
    return (
      <>
        <Skeleton className="h-16 w-48" />
        <SkeletonRows label={t("common.loading")} />
      </>
    );
  }
  if (error && !data) {
    if (error instanceof MatrixError && error.status === 404) return <OpenLedger roomId={room.roomId} />;
    if (error instanceof MatrixError && error.errcode === ENCRYPTED) return <Note title={t("group.encrypted_title")}>{t("group.encrypted")}</Note>;
    return (
      <Note role="alert" action={<Button variant="secondary" onClick={() => void refetch()}>{t("common.try_again")}</Button>}>
        {explain(error, t)}
      </Note>
    );
  }
  return tab === "entries" ? <EntriesTab roomId={room.roomId} /> : <BalancesTab ledger={data} />;
}
