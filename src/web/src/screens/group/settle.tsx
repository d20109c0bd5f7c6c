import { ArrowDownLeft, ArrowUpRight, ChevronRight, CircleCheckBig, Clock } from "lucide-react";
import { type FormEvent, useId, useState } from "react";
import { useI18n } from "@/i18n";
import { useAddEntry, useLedger } from "@/ledger/queries";
import { readContent } from "@/ledger/read";
import { type Ledger, SETTLEMENT, type Transfer } from "@/ledger/types";
import { editableAmount, formatMoney, fromWireOrZero, parseTyped, toWire } from "@/lib/money";
import { explain } from "@/lib/problem";
import { useLive } from "@/state/live";
import { Empty, Note, SectionTitle, SkeletonRows } from "@/ui/bits";
import { Button } from "@/ui/button";
import { Field, Input, Select } from "@/ui/field";
import { Amount } from "@/ui/money";
import { Segmented } from "@/ui/segmented";
import { Sheet } from "@/ui/sheet";
import { toast } from "@/ui/toast";
import { type Names, useNames } from "../people";
import { VerdictButtons } from "./verdict-buttons";
import { awaitsVerdictOf } from "@/ledger/read";

interface Props {
  roomId: string;
  onClose(): void;
}

/** A payment as it is being written down. */
interface Draft {
  from: string;
  to: string;
  currency: string;
  amount: string;
}

/** "What do I do now?" */
export function SettleSheet({ roomId, onClose }: Props) {
  const { t } = useI18n();
  const { data: ledger } = useLedger(roomId);
  const names = useNames(roomId);
  const [draft, setDraft] = useState<Draft>();
  if (!ledger) {
    return (
      <Sheet title={t("settle.title")} onClose={onClose}>
        <SkeletonRows label={t("common.loading")} />
      </Sheet>
    );
  }
  if (draft) return <RecordPayment ledger={ledger} names={names} start={draft} onBack={() => setDraft(undefined)} onClose={onClose} />;
  return (
    <Sheet title={t("settle.title")} onClose={onClose}>
      <Suggestions ledger={ledger} names={names} onChoose={setDraft} />
    </Sheet>
  );
}

function Suggestions({ ledger, names, onChoose }: { ledger: Ledger; names: Names; onChoose(draft: Draft): void }) {
  const { t, locale } = useI18n();
  const { userId } = useLive();
  const mine = ledger.plans.edges.transfers.filter((transfer) => transfer.from === userId || transfer.to === userId);
  const waiting = ledger.pending.filter((entry) => awaitsVerdictOf(entry, userId));
  const sent = ledger.pending.filter((entry) => {
    const read = readContent(entry.type, entry.content);
    return read?.kind === "settlement" && read.from === userId;
  }).length;
  const other = ledger.participants.find((person) => person.user_id !== userId && person.membership === "join");
  const choose = (transfer: Transfer) => {
    const { from, to, currency } = transfer;
    onChoose({ from, to, currency, amount: editableAmount(fromWireOrZero(transfer.amount, currency), currency, locale) });
  };
  return (
    <div className="flex flex-col gap-6">
      {waiting.map((entry) => (
        <div key={entry.event_id} className="rounded-xl border border-line bg-surface p-4">
          <VerdictButtons roomId={ledger.room_id} entry={entry} names={names} />
        </div>
      ))}
      {mine.length > 0 ? (
        <section className="flex flex-col gap-2">
          <SectionTitle>{t("settle.suggested")}</SectionTitle>
          {mine.map((transfer) => (
            <Suggestion key={`${transfer.from} ${transfer.to} ${transfer.currency}`} transfer={transfer} names={names} onChoose={() => choose(transfer)} />
          ))}
          <p className="text-xs text-muted">{t("settle.explain")}</p>
        </section>
      ) : (
        <Empty icon={CircleCheckBig} title={t("settle.nothing_title")}>
          {t(sent > 0 ? "settle.nothing_pending" : "settle.nothing")}
        </Empty>
      )}
      {sent > 0 ? (
        <p className="flex items-start gap-2 text-sm text-muted">
          <Clock aria-hidden className="mt-0.5 size-4.5 shrink-0" />
          {t("settle.waiting", { count: sent })}
        </p>
      ) : null}
      {other ? (
        <Button variant="link" className="self-start px-0" onClick={() => onChoose({ from: userId, to: other.user_id, currency: ledger.currency, amount: "" })}>
          {t("settle.another")}
        </Button>
      ) : null}
    </div>
  );
}

function Suggestion({ transfer, names, onChoose }: { transfer: Transfer; names: Names; onChoose(): void }) {
  const { t } = useI18n();
  const { userId } = useLive();
  const pay = transfer.from === userId;
  const Icon = pay ? ArrowUpRight : ArrowDownLeft;
  return (
    <button type="button" onClick={onChoose} className="flex items-center gap-3 rounded-xl border border-line bg-surface p-4 text-start hover:bg-sunken">
      <span className="min-w-0 flex-1">
        <span className={`flex items-center gap-1.5 text-sm ${pay ? "text-negative" : "text-positive"}`}>
          <Icon aria-hidden className="size-4.5 shrink-0" />
          <span className="truncate">{pay ? t("settle.you_pay", { name: names.of(transfer.to) }) : t("settle.pays_you", { name: names.of(transfer.from) })}</span>
        </span>
        <Amount minor={fromWireOrZero(transfer.amount, transfer.currency)} currency={transfer.currency} className="block pt-1 text-3xl leading-10 font-semibold tracking-tight" />
      </span>
      <span className="flex shrink-0 items-center gap-1 text-sm font-medium text-accent">
        {t(pay ? "settle.i_paid" : "settle.i_got")}
        <ChevronRight aria-hidden className="size-4.5 rtl:-scale-x-100" />
      </span>
    </button>
  );
}

interface RecordProps {
  ledger: Ledger;
  names: Names;
  start: Draft;
  onBack(): void;
  onClose(): void;
}

function RecordPayment({ ledger, names, start, onBack, onClose }: RecordProps) {
  const { t, locale } = useI18n();
  const { userId } = useLive();
  const add = useAddEntry(ledger.room_id);
  const formId = useId();
  const [draft, setDraft] = useState(start);
  const [reference, setReference] = useState("");
  const [tried, setTried] = useState(false);
  const pay = draft.from === userId;
  const other = pay ? draft.to : draft.from;
  const amount = parseTyped(draft.amount, draft.currency, locale);
  const people = ledger.participants.filter((person) => person.user_id !== userId && (person.membership === "join" || person.user_id === other));
  const set = (direction: "out" | "in", who: string) => setDraft({ ...draft, ...(direction === "out" ? { from: userId, to: who } : { from: who, to: userId }) });

  const submit = (event: FormEvent) => {
    event.preventDefault();
    setTried(true);
    if (!amount.ok) return;
    const content = { from: draft.from, to: draft.to, currency: draft.currency, amount: toWire(amount.minor, draft.currency), ...(reference.trim() ? { reference: reference.trim() } : {}) };
    const values = { name: names.of(other), amount: formatMoney(amount.minor, draft.currency, locale) };
    add.mutate({ type: SETTLEMENT, content }, {
      onSuccess: () => {
        toast(t(pay ? "settle.recorded_out" : "settle.recorded_in", values));
        onClose();
      },
    });
  };
  return (
    <Sheet
      title={t("settle.record")}
      onClose={onClose}
      footer={
        <div className="flex gap-2">
          <Button variant="quiet" size="lg" onClick={onBack}>{t("common.back")}</Button>
          <Button type="submit" form={formId} size="lg" className="flex-1" disabled={add.isPending}>
            {t(add.isPending ? "common.one_moment" : pay ? "settle.i_paid" : "settle.i_got")}
          </Button>
        </div>
      }
    >
      <form id={formId} className="flex flex-col gap-6" onSubmit={submit} noValidate>
        <Segmented
          label={t("settle.direction")}
          value={pay ? "out" : "in"}
          options={[{ value: "out", label: t("settle.direction_out") }, { value: "in", label: t("settle.direction_in") }]}
          onChange={(direction) => set(direction, other)}
        />
        <Field label={t(pay ? "settle.to" : "settle.from")}>
          {(ids) => (
            <Select {...ids} name="other" value={other} onChange={(event) => set(pay ? "out" : "in", event.target.value)}>
              {people.map((person) => (
                <option key={person.user_id} value={person.user_id}>
                  {names.of(person.user_id)}
                </option>
              ))}
            </Select>
          )}
        </Field>
        <Field label={t("settle.amount", { currency: draft.currency })} error={tried && !amount.ok ? t("add.amount_missing") : undefined}>
          {(ids) => <Input {...ids} name="amount" value={draft.amount} inputMode="decimal" autoComplete="off" onChange={(event) => setDraft({ ...draft, amount: event.target.value })} className="money text-xl font-semibold" />}
        </Field>
        <Field label={t("settle.note")} hint={t("settle.note_hint")}>
          {(ids) => <Input {...ids} name="reference" value={reference} maxLength={140} autoComplete="off" onChange={(event) => setReference(event.target.value)} />}
        </Field>
        <p className="text-sm text-muted">{t(pay ? "settle.then_out" : "settle.then_in", { name: names.of(other) })}</p>
        {add.error ? (
          <Note tone="negative" role="alert" title={t("settle.failed")}>
            {explain(add.error, t)} {t("error.kept")}
          </Note>
        ) : null}
      </form>
    </Sheet>
  );
}
