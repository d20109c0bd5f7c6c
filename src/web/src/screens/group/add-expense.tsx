import { ChevronDown } from "lucide-react";
import { type FormEvent, useId, useState } from "react";
import { type MessageKey, useI18n } from "@/i18n";
import { useAddEntry, useLedger } from "@/ledger/queries";
import { EXPENSE, type Ledger, VOID } from "@/ledger/types";
import { cn } from "@/lib/cn";
import { currencySign, formatMoney, type ParseProblem } from "@/lib/money";
import { explain } from "@/lib/problem";
import { MatrixError } from "@/matrix/http";
import { useLive } from "@/state/live";
import { Note, SkeletonRows } from "@/ui/bits";
import { Button } from "@/ui/button";
import { Field, Input, Select } from "@/ui/field";
import { Amount } from "@/ui/money";
import { Segmented } from "@/ui/segmented";
import { Sheet } from "@/ui/sheet";
import { toast } from "@/ui/toast";
import { CurrencyField } from "../new-group";
import { type Names, useNames } from "../people";
import { balanceOf } from "./entry-sheet";
import { type ExpenseForm, type Method, useExpenseForm } from "./use-expense-form";

interface Props {
  roomId: string;
  onClose(): void;
}

export function AddExpenseSheet({ roomId, onClose }: Props) {
  const { t } = useI18n();
  const { data: ledger } = useLedger(roomId);
  if (ledger) return <AddExpense ledger={ledger} onClose={onClose} />;
  return (
    <Sheet title={t("add.title")} onClose={onClose}>
      <SkeletonRows label={t("common.loading")} />
    </Sheet>
  );
}

const AMOUNT_PROBLEMS: Record<ParseProblem, MessageKey> = {
  empty: "add.amount_missing",
  unreadable: "add.amount_unreadable",
  too_precise: "add.amount_too_precise",
  too_large: "add.amount_too_large",
  not_positive: "add.amount_missing",
};

type Shown = { amount?: string; title?: string; split?: string };

function AddExpense({ ledger, onClose }: { ledger: Ledger; onClose(): void }) {
  const { t, locale } = useI18n();
  const { userId } = useLive();
  const names = useNames(ledger.room_id);
  const form = useExpenseForm(ledger);
  const add = useAddEntry(ledger.room_id);
  const undo = useAddEntry(ledger.room_id);
  const formId = useId();
  const [tried, setTried] = useState(false);
  const problems = tried ? findProblems(form, t) : {};
  const refused = refusal(add.error ?? form.preview.error);

  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    setTried(true);
    const { entry, draft } = form;
    if (Object.keys(findProblems(form, t)).length > 0 || entry?.type !== EXPENSE) return showFirstProblem(event.currentTarget);
    add.mutate(entry, {
      onSuccess: ({ event_id }) => {
        const action = { label: t("common.undo"), run: () => undo.mutate({ type: VOID, content: { target: event_id } }, { onSuccess: () => toast(t("void.done")), onError: (error) => toast(explain(error, t), { tone: "problem" }) }) };
        toast(t("add.done", { title: draft.title.trim() }), { action });
        onClose();
      },
    });
  };

  const mine = (form.draft.payer === userId && form.amount.ok ? form.amount.minor : 0n) - (form.shares.get(userId) ?? 0n);
  const after = balanceOf(ledger, userId, form.draft.currency) + mine;
  const settledShares = form.draft.method === "exact" ? form.remainder === 0n && form.amount.ok : form.preview.shares !== undefined;
  return (
    <Sheet
      title={t("add.title")}
      onClose={onClose}
      footer={
        <div className="flex flex-col gap-2.5">
          <p aria-live="polite" className="min-h-5 text-center text-sm text-muted">
            {settledShares ? t(after > 0n ? "add.after_owed" : after < 0n ? "add.after_owe" : "add.after_even", { amount: formatMoney(after < 0n ? -after : after, form.draft.currency, locale) }) : ""}
          </p>
          <Button type="submit" form={formId} size="lg" disabled={add.isPending}>
            {t(add.isPending ? "common.one_moment" : "add.save")}
          </Button>
        </div>
      }
    >
      <form id={formId} className="flex flex-col gap-6" onSubmit={submit} noValidate>
        <AmountField form={form} error={problems.amount ?? refused?.amount} />
        <Field label={t("add.what")} error={problems.title ?? refused?.title}>
          {(ids) => <Input {...ids} name="title" value={form.draft.title} placeholder={t("add.what_example")} maxLength={200} autoComplete="off" enterKeyHint="done" onChange={(event) => form.change({ title: event.target.value })} />}
        </Field>
        <HowSplit form={form} names={names} error={problems.split ?? refused?.split} />
        {add.error && !refused ? (
          <Note tone="negative" role="alert" title={t("add.failed")}>
            {explain(add.error, t)} {t("error.kept")}
          </Note>
        ) : null}
      </form>
    </Sheet>
  );
}

/** Brings the first thing that is wrong into sight, once it has been drawn. */
function showFirstProblem(form: HTMLFormElement): void {
  setTimeout(() => {
    const first = form.querySelector<HTMLElement>("[aria-invalid=true], [role=alert]");
    first?.focus();
    first?.scrollIntoView({ block: "center" });
  });
}

/** What keeps the form from being sent, by field. */
function findProblems(form: ExpenseForm, t: ReturnType<typeof useI18n>["t"]): Shown {
  const shown: Shown = {};
  if (!form.amount.ok) shown.amount = t(AMOUNT_PROBLEMS[form.amount.problem], { currency: form.draft.currency });
  if (form.draft.title.trim() === "") shown.title = t("add.what_missing");
  if (form.draft.method === "equal" && form.draft.included.length === 0) shown.split = t("add.nobody");
  if (form.draft.method === "exact" && form.exact.unreadable.length > 0) shown.split = t("add.share_unreadable");
  else if (form.draft.method === "exact" && form.amount.ok && form.remainder !== 0n) shown.split = t("add.does_not_add_up");
  return shown;
}

/** Puts the server's refusal to the field it names. */
function refusal(error: unknown): Shown | undefined {
  if (!(error instanceof MatrixError) || !error.field) return undefined;
  const field = error.field.replace(/^content\./, "");
  if (field.startsWith("amount")) return { amount: error.message };
  if (field.startsWith("title")) return { title: error.message };
  return { split: error.message };
}

function AmountField({ form, error }: { form: ExpenseForm; error: string | undefined }) {
  const { t, locale } = useI18n();
  return (
    <Field label={t("add.amount")} error={error}>
      {(ids) => (
        <div className="flex items-baseline gap-2 border-b border-line-strong pb-1 focus-within:border-accent">
          <span aria-hidden className="text-2xl font-medium text-muted">
            {currencySign(form.draft.currency, locale)}
          </span>
          <input
            {...ids}
            name="amount"
            value={form.draft.amount}
            inputMode="decimal"
            autoComplete="off"
            autoFocus
            placeholder="0"
            onChange={(event) => form.change({ amount: event.target.value })}
            className="money min-h-14 w-full min-w-0 bg-transparent text-[2.5rem] leading-12 font-semibold tracking-tight placeholder:text-faint focus-visible:outline-none"
          />
        </div>
      )}
    </Field>
  );
}

/** "Paid by you, split equally with everyone": one line and the shares; the rest unfolds on demand. */
function HowSplit({ form, names, error }: { form: ExpenseForm; names: Names; error: string | undefined }) {
  const { t } = useI18n();
  const { userId } = useLive();
  const { draft, people } = form;
  const [open, setOpen] = useState(false);
  const panel = useId();
  const byMe = draft.payer === userId;
  const paid = byMe ? t("add.paid_by_you") : t("add.paid_by", { name: names.of(draft.payer) });
  const everyone = draft.included.length === people.length;
  const split = draft.method === "exact" ? t("add.split_exact") : everyone ? t("add.split_everyone") : t("add.split_some", { count: draft.included.length });
  return (
    <section className="flex flex-col gap-3">
      <button
        type="button"
        aria-expanded={open}
        aria-controls={panel}
        onClick={() => setOpen(!open)}
        className="flex min-h-12 items-center gap-2 rounded-lg border border-line bg-surface px-3.5 text-start text-sm hover:bg-sunken"
      >
        <span className="min-w-0 flex-1">
          {paid}, {split}
        </span>
        <ChevronDown aria-hidden className={cn("size-4.5 shrink-0 text-muted transition-transform duration-(--motion)", open && "rotate-180")} />
      </button>
      <div id={panel} hidden={!open} className="flex flex-col gap-4">
        {open ? <Who form={form} names={names} /> : null}
      </div>
      <Shares form={form} names={names} editable={open} />
      <OddCents form={form} names={names} />
      {error ? <p role="alert" className="text-sm text-negative">{error}</p> : null}
      {open ? <More form={form} /> : null}
    </section>
  );
}

function Who({ form, names }: { form: ExpenseForm; names: Names }) {
  const { t } = useI18n();
  const { draft, people } = form;
  const methods: { value: Method; label: string }[] = [
    { value: "equal", label: t("add.method_equal") },
    { value: "exact", label: t("add.method_exact") },
  ];
  return (
    <>
      <Field label={t("add.payer")}>
        {(ids) => (
          <Select {...ids} name="payer" value={draft.payer} onChange={(event) => form.change({ payer: event.target.value })}>
            {people.map((who) => (
              <option key={who} value={who}>
                {names.you(who)}
              </option>
            ))}
          </Select>
        )}
      </Field>
      <Segmented label={t("add.method")} value={draft.method} options={methods} onChange={form.setMethod} />
    </>
  );
}

function More({ form }: { form: ExpenseForm }) {
  const { t } = useI18n();
  const { draft } = form;
  return (
    <div className="flex flex-col gap-4 pt-3">
      <Field label={t("add.date")}>
        {(ids) => <Input {...ids} name="date" type="date" value={draft.date} onChange={(event) => event.target.value && form.change({ date: event.target.value })} />}
      </Field>
      <CurrencyField value={draft.currency} onChange={(currency) => form.change({ currency })} />
      <Field label={t("add.notes")}>
        {(ids) => <Input {...ids} name="notes" value={draft.notes} maxLength={1000} autoComplete="off" onChange={(event) => form.change({ notes: event.target.value })} />}
      </Field>
    </div>
  );
}

function Shares({ form, names, editable }: { form: ExpenseForm; names: Names; editable: boolean }) {
  const { draft, people } = form;
  const shown = editable ? people : people.filter((who) => (draft.method === "equal" ? draft.included.includes(who) : form.shares.has(who)));
  return (
    <ul className="flex flex-col divide-y divide-line">
      {shown.map((who) => (
        <li key={who} data-who={who} className="flex min-h-12 items-center gap-3">
          {editable && draft.method === "equal" ? <IncludeBox form={form} who={who} name={names.you(who)} /> : <span className="min-w-0 flex-1 truncate">{names.you(who)}</span>}
          {editable && draft.method === "exact" ? <ExactInput form={form} who={who} name={names.you(who)} /> : <ShareAmount form={form} who={who} />}
        </li>
      ))}
    </ul>
  );
}

function ShareAmount({ form, who }: { form: ExpenseForm; who: string }) {
  const share = form.shares.get(who);
  const { draft, estimate, preview } = form;
  if (share === undefined) return <span className="text-muted">–</span>;
  const settled = draft.method === "exact" || preview.shares !== undefined || estimate?.odd === 0;
  return <Amount minor={share} currency={draft.currency} className={cn("font-medium", !settled && "text-muted")} />;
}

function IncludeBox({ form, who, name }: { form: ExpenseForm; who: string; name: string }) {
  const { included } = form.draft;
  const checked = included.includes(who);
  const toggle = () => form.change({ included: checked ? included.filter((other) => other !== who) : form.people.filter((other) => other === who || included.includes(other)) });
  return (
    <label className="flex min-h-12 min-w-0 flex-1 cursor-pointer items-center gap-3">
      <input type="checkbox" checked={checked} onChange={toggle} className="size-5 shrink-0 accent-accent" />
      <span className={cn("truncate", !checked && "text-muted")}>{name}</span>
    </label>
  );
}

function ExactInput({ form, who, name }: { form: ExpenseForm; who: string; name: string }) {
  const { t } = useI18n();
  const { draft, exact } = form;
  return (
    <Input
      aria-label={t("add.share_of", { name })}
      aria-invalid={exact.unreadable.includes(who)}
      value={draft.exact[who] ?? ""}
      inputMode="decimal"
      autoComplete="off"
      placeholder="0"
      onChange={(event) => form.change({ exact: { ...draft.exact, [who]: event.target.value } })}
      className="money w-32 min-h-(--tap) text-end"
    />
  );
}

/** Where the odd cents of an equal split go, or what an exact one still lacks. */
function OddCents({ form, names }: { form: ExpenseForm; names: Names }) {
  const { userId } = useLive();
  const { t, locale, language } = useI18n();
  const { draft, estimate, preview, remainder, amount } = form;
  const money = (minor: bigint) => formatMoney(minor, draft.currency, locale);
  let text = "";
  if (draft.method === "exact" && amount.ok && remainder > 0n) text = t("add.left", { amount: money(remainder) });
  else if (draft.method === "exact" && amount.ok && remainder < 0n) text = t("add.too_much", { amount: money(-remainder) });
  else if (draft.method === "equal" && estimate && estimate.odd > 0) {
    const who = new Intl.ListFormat(language, { type: "conjunction" }).format(preview.odd.map((id) => (id === userId ? t("common.you_object") : names.of(id))));
    const values = { amount: money(BigInt(estimate.odd)), unit: money(1n), names: who, count: preview.odd.length };
    text = preview.odd.length > 0 ? t("add.odd", values) : t("add.odd_open", values);
  }
  return (
    <p aria-live="polite" className={cn("text-sm empty:hidden", draft.method === "exact" ? "text-warning" : "text-muted")}>
      {text}
    </p>
  );
}
