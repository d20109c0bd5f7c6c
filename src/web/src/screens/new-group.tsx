import { X } from "lucide-react";
import { type FormEvent, type KeyboardEvent, useMemo, useState } from "react";
import { useI18n } from "@/i18n";
import { COMMON_CURRENCIES, currencyChoices, currencyName } from "@/lib/currencies";
import { completeUserId, isUserId, localpartOf, serverOf } from "@/lib/ids";
import { explain } from "@/lib/problem";
import { navigate } from "@/lib/router";
import { useTxnId } from "@/lib/txn";
import { MatrixError } from "@/matrix/http";
import { useLive } from "@/state/live";
import { Note } from "@/ui/bits";
import { Button } from "@/ui/button";
import { Field, Input, Select } from "@/ui/field";
import { Page } from "@/ui/page";

export function NewGroupScreen() {
  const { t } = useI18n();
  const { ledger, userId } = useLive();
  const [name, setName] = useState("");
  const [currency, setCurrency] = useState<string>(COMMON_CURRENCIES[0]);
  const [people, setPeople] = useState<string[]>([]);
  const [typed, setTyped] = useState("");
  const [problems, setProblems] = useState<{ name?: string; person?: string; server?: unknown }>({});
  const [busy, setBusy] = useState(false);
  const txn = useTxnId();

  /** Takes the typed person in; gives the list, or undefined where it is not a user id. */
  const takeTyped = (): string[] | undefined => {
    if (typed.trim() === "") return people;
    const person = completeUserId(typed, serverOf(userId));
    if (!isUserId(person) || person === userId) {
      setProblems({ person: t(person === userId ? "new.person_self" : "new.person_invalid") });
      return undefined;
    }
    const next = people.includes(person) ? people : [...people, person];
    setPeople(next);
    setTyped("");
    setProblems({});
    return next;
  };

  const submit = async (event: FormEvent) => {
    event.preventDefault();
    const invite = takeTyped();
    if (!invite) return;
    if (name.trim() === "") return setProblems({ name: t("new.name_missing") });
    setProblems({});
    setBusy(true);
    try {
      const body = { name: name.trim(), currency, ...(invite.length > 0 ? { invite } : {}), preset: "private_chat" as const };
      const { room_id: roomId } = await ledger.createGroup(txn.idFor(body), body);
      navigate({ screen: "group", roomId, tab: "chat" }, { replace: true });
    } catch (error) {
      setProblems(refusedPerson(error, invite) ?? { server: error });
      setBusy(false);
    }
  };

  return (
    <Page title={t("new.title")}>
      <form className="flex flex-col gap-6" onSubmit={(event) => void submit(event)} noValidate>
        <Field label={t("new.name")} error={problems.name}>
          {(ids) => <Input {...ids} name="name" value={name} placeholder={t("new.name_example")} autoComplete="off" maxLength={120} onChange={(event) => setName(event.target.value)} />}
        </Field>
        <CurrencyField value={currency} onChange={setCurrency} hint={t("new.currency_hint")} />
        <PeopleField people={people} typed={typed} error={problems.person} onTyped={setTyped} onTake={takeTyped} onRemove={(person) => setPeople(people.filter((other) => other !== person))} />
        {problems.server ? (
          <Note tone="negative" role="alert" title={t("new.failed")}>
            {explain(problems.server, t)} {t("error.kept")}
          </Note>
        ) : null}
        <Button type="submit" size="lg" disabled={busy} className="sm:self-start">
          {t(busy ? "common.one_moment" : "new.create")}
        </Button>
      </form>
    </Page>
  );
}

/** The person of an invitation that the server refused, with its reason. */
function refusedPerson(error: unknown, invite: readonly string[]): { person: string } | undefined {
  const index = error instanceof MatrixError ? /^invite\[(\d+)\]/.exec(error.field ?? "")?.[1] : undefined;
  return index === undefined ? undefined : { person: `${invite[Number(index)] ?? ""}: ${(error as MatrixError).message}` };
}

export function CurrencyField({ value, hint, onChange }: { value: string; hint?: string; onChange(currency: string): void }) {
  const { t, language } = useI18n();
  const choices = useMemo(() => currencyChoices().map((code) => ({ code, name: currencyName(code, language) })), [language]);
  return (
    <Field label={t("new.currency")} hint={hint}>
      {(ids) => (
        <Select {...ids} name="currency" value={value} onChange={(event) => onChange(event.target.value)}>
          {choices.map(({ code, name }) => (
            <option key={code} value={code}>
              {code} – {name}
            </option>
          ))}
        </Select>
      )}
    </Field>
  );
}

interface PeopleFieldProps {
  people: string[];
  typed: string;
  error: string | undefined;
  onTyped(text: string): void;
  onTake(): unknown;
  onRemove(person: string): void;
}

function PeopleField({ people, typed, error, onTyped, onTake, onRemove }: PeopleFieldProps) {
  const { t } = useI18n();
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key !== "Enter" || typed.trim() === "") return;
    event.preventDefault();
    onTake();
  };
  return (
    <div className="flex flex-col gap-3">
      <Field label={t("new.people")} hint={t("new.people_hint")} error={error}>
        {(ids) => (
          <div className="flex gap-2">
            <Input {...ids} name="person" value={typed} placeholder={t("new.people_example")} autoCapitalize="none" autoComplete="off" spellCheck={false} onKeyDown={onKeyDown} onChange={(event) => onTyped(event.target.value)} />
            <Button variant="secondary" className="min-h-12" onClick={onTake}>
              {t("new.add_person")}
            </Button>
          </div>
        )}
      </Field>
      {people.length > 0 ? (
        <ul className="flex flex-wrap gap-2">
          {people.map((person) => (
            <li key={person} className="flex items-center rounded-lg bg-sunken ps-3 text-sm">
              <span title={person}>{localpartOf(person)}</span>
              <button type="button" className="tap grid place-items-center text-muted hover:text-ink" aria-label={t("new.remove_person", { name: person })} onClick={() => onRemove(person)}>
                <X aria-hidden className="size-4" />
              </button>
            </li>
          ))}
        </ul>
      ) : null}
    </div>
  );
}
