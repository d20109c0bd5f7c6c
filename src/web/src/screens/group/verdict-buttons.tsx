import { Check, X } from "lucide-react";
import { useState } from "react";
import { useI18n } from "@/i18n";
import { useAddEntry } from "@/ledger/queries";
import { readContent } from "@/ledger/read";
import { type Entry, VERDICT } from "@/ledger/types";
import { formatMoney } from "@/lib/money";
import { explain } from "@/lib/problem";
import { Note } from "@/ui/bits";
import { Button } from "@/ui/button";
import { Field, Input } from "@/ui/field";
import { toast } from "@/ui/toast";
import type { Names } from "../people";

/** "Did you get it?": yes, or no with a reason. */
export function VerdictButtons({ roomId, entry, names }: { roomId: string; entry: Entry; names: Names }) {
  const { t, locale } = useI18n();
  const add = useAddEntry(roomId);
  const [disputing, setDisputing] = useState(false);
  const [reason, setReason] = useState("");
  const read = readContent(entry.type, entry.content);
  if (read?.kind !== "settlement") return null;
  const values = { name: names.of(read.from), amount: formatMoney(read.amount, read.currency, locale) };
  const say = (verdict: "confirmed" | "disputed") => {
    const content = { target: entry.event_id, verdict, ...(verdict === "disputed" && reason.trim() ? { reason: reason.trim() } : {}) };
    add.mutate({ type: VERDICT, content }, { onSuccess: () => toast(t(verdict === "confirmed" ? "verdict.confirmed_done" : "verdict.disputed_done", values)) });
  };
  return (
    <div className="flex flex-col gap-3">
      <p className="text-sm">{t("verdict.question", values)}</p>
      {disputing ? (
        <>
          <Field label={t("verdict.reason")} hint={t("verdict.reason_hint", values)}>
            {(ids) => <Input {...ids} name="reason" value={reason} maxLength={300} autoComplete="off" onChange={(event) => setReason(event.target.value)} />}
          </Field>
          <div className="flex flex-wrap gap-2">
            <Button variant="danger" className="flex-1" disabled={add.isPending} onClick={() => say("disputed")}>
              {t("verdict.dispute_now")}
            </Button>
            <Button variant="quiet" disabled={add.isPending} onClick={() => setDisputing(false)}>
              {t("common.back")}
            </Button>
          </div>
        </>
      ) : (
        <div className="flex flex-wrap gap-2">
          <Button className="flex-1" disabled={add.isPending} onClick={() => say("confirmed")}>
            <Check aria-hidden className="size-4.5" />
            {t("verdict.confirm")}
          </Button>
          <Button variant="secondary" className="flex-1" disabled={add.isPending} onClick={() => setDisputing(true)}>
            <X aria-hidden className="size-4.5" />
            {t("verdict.dispute")}
          </Button>
        </div>
      )}
      {add.error ? <Note tone="negative" role="alert" title={t("verdict.failed")}>{explain(add.error, t)}</Note> : null}
    </div>
  );
}
