import { ReceiptText } from "lucide-react";
import { useState } from "react";
import { useQueryClient } from "@tanstack/react-query";
import { useI18n } from "@/i18n";
import { LEDGER_EXISTS } from "@/ledger/client";
import { COMMON_CURRENCIES } from "@/lib/currencies";
import { explain } from "@/lib/problem";
import { useTxnId } from "@/lib/txn";
import { MatrixError } from "@/matrix/http";
import { useLive } from "@/state/live";
import { Note } from "@/ui/bits";
import { Button } from "@/ui/button";
import { CurrencyField } from "../new-group";

/** A conversation without shared expenses, and how to begin with them. */
export function OpenLedger({ roomId }: { roomId: string }) {
  const { t } = useI18n();
  const { ledger } = useLive();
  const queries = useQueryClient();
  const txn = useTxnId();
  const [currency, setCurrency] = useState<string>(COMMON_CURRENCIES[0]);
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<unknown>();
  const open = async () => {
    setBusy(true);
    setProblem(undefined);
    try {
      await ledger.open(roomId, txn.idFor({ roomId, currency }), currency);
    } catch (error) {
      if (!(error instanceof MatrixError && error.errcode === LEDGER_EXISTS)) setProblem(error);
    }
    setBusy(false);
    void queries.invalidateQueries({ queryKey: ["ledger", roomId] });
    void queries.invalidateQueries({ queryKey: ["groups"] });
  };
  return (
    <section className="flex flex-col gap-5">
      <div className="flex flex-col gap-2">
        <ReceiptText aria-hidden className="size-7 text-faint" strokeWidth={1.5} />
        <h2 className="text-lg font-semibold">{t("open.title")}</h2>
        <p className="text-sm text-muted">{t("open.text")}</p>
      </div>
      <CurrencyField value={currency} onChange={setCurrency} />
      {problem ? <Note tone="negative" role="alert">{explain(problem, t)}</Note> : null}
      <Button size="lg" disabled={busy} onClick={() => void open()}>
        {t(busy ? "common.one_moment" : "open.start")}
      </Button>
    </section>
  );
}
