import { LogOut, UserPlus } from "lucide-react";
import { type FormEvent, useState } from "react";
import { useI18n } from "@/i18n";
import { useLedger } from "@/ledger/queries";
import { completeUserId, isUserId, serverOf } from "@/lib/ids";
import { explain } from "@/lib/problem";
import { navigate } from "@/lib/router";
import type { Room } from "@/matrix/room-state";
import { useLive } from "@/state/live";
import { Avatar, Badge, Note, SectionTitle } from "@/ui/bits";
import { Button } from "@/ui/button";
import { Field, Input } from "@/ui/field";
import { toast } from "@/ui/toast";
import { useNames } from "../people";
import { fromWireOrZero } from "@/lib/money";

/** Who is in the group, and how to bring somebody in. */
export function PeopleTab({ room }: { room: Room }) {
  const { t } = useI18n();
  const { userId } = useLive();
  const names = useNames(room.roomId);
  const people = [...room.members.values()]
    .filter((member) => member.membership === "join" || member.membership === "invite")
    .sort((a, b) => rank(a.userId === userId, a.membership) - rank(b.userId === userId, b.membership) || names.of(a.userId).localeCompare(names.of(b.userId)));
  return (
    <>
      <section className="flex flex-col gap-1">
        <SectionTitle>{t("group.people", { count: people.length })}</SectionTitle>
        <ul className="flex flex-col divide-y divide-line">
          {people.map((member) => (
            <li key={member.userId} className="flex min-h-16 items-center gap-3">
              <Avatar name={names.of(member.userId)} />
              <span className="min-w-0 flex-1">
                <span className="block truncate font-medium">
                  {names.of(member.userId)} {member.userId === userId ? <span className="font-normal text-muted">{t("people.you")}</span> : null}
                </span>
                <span className="block truncate font-mono text-xs text-muted">{member.userId}</span>
              </span>
              {member.membership === "invite" ? <Badge>{t("people.invited")}</Badge> : null}
            </li>
          ))}
        </ul>
      </section>
      <InviteForm roomId={room.roomId} />
      <LeavePart room={room} />
    </>
  );
}

function rank(me: boolean, membership: string): number {
  if (me) return 0;
  return membership === "join" ? 1 : 2;
}

function InviteForm({ roomId }: { roomId: string }) {
  const { t } = useI18n();
  const { matrix, userId } = useLive();
  const [typed, setTyped] = useState("");
  const [problem, setProblem] = useState<string>();
  const [busy, setBusy] = useState(false);
  const invite = async (event: FormEvent) => {
    event.preventDefault();
    const person = completeUserId(typed, serverOf(userId));
    if (!isUserId(person)) return setProblem(t("new.person_invalid"));
    setBusy(true);
    setProblem(undefined);
    try {
      await matrix.invite(roomId, person);
      setTyped("");
      toast(t("people.invite_sent", { name: person }));
    } catch (error) {
      setProblem(`${t("people.invite_failed", { name: person })} ${explain(error, t)}`);
    } finally {
      setBusy(false);
    }
  };
  return (
    <form onSubmit={(event) => void invite(event)} noValidate>
      <Field label={t("people.invite")} hint={t("new.people_hint")} error={problem}>
        {(ids) => (
          <div className="flex gap-2">
            <Input {...ids} name="person" value={typed} placeholder={t("new.people_example")} autoCapitalize="none" autoComplete="off" spellCheck={false} onChange={(event) => setTyped(event.target.value)} />
            <Button type="submit" className="min-h-12" disabled={busy || typed.trim() === ""}>
              <UserPlus aria-hidden className="size-4.5" />
              {t("people.invite_now")}
            </Button>
          </div>
        )}
      </Field>
    </form>
  );
}

function LeavePart({ room }: { room: Room }) {
  const { t } = useI18n();
  const { matrix, userId } = useLive();
  const { data: ledger } = useLedger(room.roomId);
  const [asking, setAsking] = useState(false);
  const [busy, setBusy] = useState(false);
  const open = ledger?.balances.some((balance) => balance.who === userId && fromWireOrZero(balance.amount, balance.currency) !== 0n) ?? false;
  const leave = async () => {
    setBusy(true);
    try {
      await matrix.leave(room.roomId);
      navigate({ screen: "home" }, { replace: true });
    } catch (error) {
      toast(explain(error, t), { tone: "problem" });
      setBusy(false);
    }
  };
  if (!asking) {
    return (
      <Button variant="danger" className="self-start" onClick={() => setAsking(true)}>
        <LogOut aria-hidden className="size-4.5 rtl:-scale-x-100" />
        {t("people.leave")}
      </Button>
    );
  }
  return (
    <Note
      tone={open ? "warning" : "neutral"}
      title={t("people.leave_title")}
      action={
        <>
          <Button variant="danger" disabled={busy} onClick={() => void leave()}>{t("people.leave_now")}</Button>
          <Button variant="quiet" disabled={busy} onClick={() => setAsking(false)}>{t("common.back")}</Button>
        </>
      }
    >
      {t(open ? "people.leave_open" : "people.leave_text")}
    </Note>
  );
}
