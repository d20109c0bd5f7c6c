import { MessagesSquare, Plus, UserPlus } from "lucide-react";
import { useState } from "react";
import { useI18n } from "@/i18n";
import { useGroups } from "@/ledger/queries";
import type { Group, Total } from "@/ledger/types";
import { localpartOf } from "@/lib/ids";
import { fromWireOrZero } from "@/lib/money";
import { explain } from "@/lib/problem";
import { navigate, routeHref } from "@/lib/router";
import { shortDate } from "@/lib/time";
import type { Invite, Room } from "@/matrix/room-state";
import { useLive, useLiveState } from "@/state/live";
import { Avatar, Empty, Note, SectionTitle, Skeleton, SkeletonRows } from "@/ui/bits";
import { Button } from "@/ui/button";
import { Amount, BigStanding, RowStanding, standing } from "@/ui/money";
import { Page } from "@/ui/page";

/** "Where do I stand?" */
export function HomeScreen() {
  const { t } = useI18n();
  const { rooms, ready } = useLiveState();
  const { data, isPending, error, refetch } = useGroups();
  const withLedger = new Set(data?.groups.map((group) => group.room_id));
  const plainRooms = data ? [...rooms.joined.values()].filter((room) => !withLedger.has(room.roomId)) : [];
  const invites = [...rooms.invites.values()];
  const nothing = ready && data?.groups.length === 0 && invites.length === 0 && plainRooms.length === 0;
  return (
    <Page title={t("home.title")}>
      {error && !data ? (
        <Note role="alert" action={<Button variant="secondary" onClick={() => void refetch()}>{t("common.try_again")}</Button>}>
          {explain(error, t)}
        </Note>
      ) : null}
      {isPending ? <Skeleton className="h-20 w-60" /> : <Standing totals={data?.totals ?? []} />}
      {invites.length > 0 ? <Invites invites={invites} /> : null}
      {nothing ? (
        <Empty icon={UserPlus} title={t("home.empty_title")} action={<NewGroupLink />}>
          {t("home.empty")}
        </Empty>
      ) : null}
      {isPending ? <SkeletonRows label={t("common.loading")} /> : null}
      {data && data.groups.length > 0 ? <Groups groups={data.groups} /> : null}
      {plainRooms.length > 0 ? <PlainRooms rooms={plainRooms} /> : null}
    </Page>
  );
}

function NewGroupLink() {
  const { t } = useI18n();
  return (
    <Button asChild>
      <a href={routeHref({ screen: "new" })}>
        <Plus aria-hidden className="size-4.5" />
        {t("nav.new_group")}
      </a>
    </Button>
  );
}

/** The net position of each currency, the largest thing on the screen; several stand side by side. */
function Standing({ totals }: { totals: Total[] }) {
  const { t } = useI18n();
  const sums = totals.map((total) => ({
    currency: total.currency,
    owed: fromWireOrZero(total.owed, total.currency),
    owe: fromWireOrZero(total.owe, total.currency),
  }));
  const open = sums.filter((sum) => sum.owed !== 0n || sum.owe !== 0n);
  if (open.length === 0) return <BigStanding minor={0n} currency="EUR" />;
  return (
    <section aria-label={t("home.title")} className="flex flex-wrap gap-x-10 gap-y-5">
      {open.map(({ currency, owed, owe }) => (
        <div key={currency} className="flex flex-col gap-1">
          <BigStanding minor={owed - owe} currency={currency} />
          {owed !== 0n && owe !== 0n ? (
            <p className="text-sm text-muted">
              {t("home.owed_part")} <Amount minor={owed} currency={currency} className="font-medium text-ink" />
              <span aria-hidden> · </span>
              {t("home.owe_part")} <Amount minor={owe} currency={currency} className="font-medium text-ink" />
            </p>
          ) : null}
        </div>
      ))}
    </section>
  );
}

function Invites({ invites }: { invites: Invite[] }) {
  const { t } = useI18n();
  return (
    <section className="flex flex-col gap-2">
      <SectionTitle>{t("home.invitations")}</SectionTitle>
      <ul className="flex flex-col gap-2">
        {invites.map((invite) => (
          <InviteRow key={invite.roomId} invite={invite} />
        ))}
      </ul>
    </section>
  );
}

function InviteRow({ invite }: { invite: Invite }) {
  const { t } = useI18n();
  const { matrix } = useLive();
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<unknown>();
  const name = invite.name ?? t("group.unnamed");
  const answer = async (accept: boolean) => {
    setBusy(true);
    setProblem(undefined);
    try {
      await (accept ? matrix.join(invite.roomId) : matrix.leave(invite.roomId));
      if (accept) navigate({ screen: "group", roomId: invite.roomId, tab: "chat" });
    } catch (error) {
      setProblem(error);
      setBusy(false);
    }
  };
  return (
    <li className="flex flex-col gap-3 rounded-xl border border-line bg-surface p-4">
      <div className="flex items-center gap-3">
        <Avatar name={name} square />
        <p className="min-w-0 flex-1">
          <span className="block truncate font-medium">{name}</span>
          <span className="block truncate text-sm text-muted">
            {invite.inviter ? t("home.invited_by", { name: invite.inviterName ?? localpartOf(invite.inviter) }) : t("home.invited")}
          </span>
        </p>
      </div>
      <div className="flex flex-wrap gap-2">
        <Button className="flex-1" disabled={busy} onClick={() => void answer(true)}>
          {t("home.accept")}
        </Button>
        <Button className="flex-1" variant="secondary" disabled={busy} onClick={() => void answer(false)}>
          {t("home.decline")}
        </Button>
      </div>
      {problem ? <Note role="alert">{explain(problem, t)}</Note> : null}
    </li>
  );
}

function Groups({ groups }: { groups: Group[] }) {
  const { t, locale } = useI18n();
  const { rooms } = useLiveState();
  return (
    <section className="flex flex-col gap-1">
      <SectionTitle>{t("home.groups")}</SectionTitle>
      <ul className="-mx-2 flex flex-col">
        {groups.map((group) => (
          <li key={group.room_id}>
            <a href={routeHref({ screen: "group", roomId: group.room_id, tab: "chat" })} className="flex min-h-16 items-center gap-3 rounded-lg px-2 py-2 hover:bg-sunken">
              <Avatar name={group.name} square />
              <span className="min-w-0 flex-1">
                <span className="flex items-center gap-2">
                  <span className="truncate font-medium">{group.name}</span>
                  {(rooms.joined.get(group.room_id)?.unread ?? 0) > 0 ? <span role="img" aria-label={t("home.unread")} className="size-2 shrink-0 rounded-full bg-accent" /> : null}
                </span>
                <span className="block truncate text-sm text-muted">
                  {t("group.people", { count: memberCount(group) })}
                  <span aria-hidden> · </span>
                  {shortDate(group.last_ts, locale)}
                </span>
              </span>
              <GroupBalance group={group} />
            </a>
          </li>
        ))}
      </ul>
    </section>
  );
}

function memberCount(group: Group): number {
  return Array.isArray(group.members) ? group.members.length : group.members;
}

/** My balance in a group, at the end of its row; several currencies stand under each other. */
export function GroupBalance({ group, compact }: { group: Group; compact?: boolean }) {
  const { t } = useI18n();
  const open = group.balances
    .map(({ currency, amount }) => ({ currency, minor: fromWireOrZero(amount, currency) }))
    .filter((balance) => balance.minor !== 0n);
  if (open.length === 0) return <span className="text-xs text-muted">{t("money.even_short")}</span>;
  return (
    <span className="flex flex-col items-end gap-1">
      {open.map(({ currency, minor }) =>
        compact ? <CompactBalance key={currency} minor={minor} currency={currency} /> : <RowStanding key={currency} minor={minor} currency={currency} />,
      )}
    </span>
  );
}

function CompactBalance({ minor, currency }: { minor: bigint; currency: string }) {
  const { t } = useI18n();
  const { words, icon: Icon, tone } = standing(minor);
  return (
    <span className={`flex items-center gap-1 text-xs ${tone}`}>
      <Icon role="img" aria-label={t(words)} className="size-3.5" />
      <Amount minor={minor} currency={currency} sign="always" className="font-medium" />
    </span>
  );
}

function PlainRooms({ rooms }: { rooms: Room[] }) {
  const { t } = useI18n();
  return (
    <section className="flex flex-col gap-1">
      <SectionTitle>{t("home.plain_rooms")}</SectionTitle>
      <ul className="-mx-2 flex flex-col">
        {rooms.map((room) => (
          <li key={room.roomId}>
            <a href={routeHref({ screen: "group", roomId: room.roomId, tab: "chat" })} className="flex min-h-14 items-center gap-3 rounded-lg px-2 hover:bg-sunken">
              <MessagesSquare aria-hidden className="mx-2.5 size-5 text-muted" />
              <span className="min-w-0 flex-1 truncate">{room.name ?? t("group.unnamed")}</span>
            </a>
          </li>
        ))}
      </ul>
    </section>
  );
}
