import { ArrowDownLeft, ArrowUpRight, Check } from "lucide-react";
import { useI18n } from "@/i18n";
import { cn } from "@/lib/cn";
import { formatMoney, type SignDisplay } from "@/lib/money";

export function Amount({ minor, currency, sign = "auto", className }: { minor: bigint; currency: string; sign?: SignDisplay; className?: string }) {
  const { locale } = useI18n();
  return <span className={cn("money", className)}>{formatMoney(minor, currency, locale, sign)}</span>;
}

/** How a balance is told apart: by words, sign, icon and colour, so that none of them alone has to do. */
export function standing(minor: bigint) {
  if (minor > 0n) return { words: "money.owed", icon: ArrowDownLeft, tone: "text-positive" } as const;
  if (minor < 0n) return { words: "money.owe", icon: ArrowUpRight, tone: "text-negative" } as const;
  return { words: "money.even", icon: Check, tone: "text-muted" } as const;
}

/** "You are owed €56.00", as the largest thing on its screen. */
export function BigStanding({ minor, currency }: { minor: bigint; currency: string }) {
  const { t } = useI18n();
  const { words, icon: Icon, tone } = standing(minor);
  return (
    <div className={cn("flex flex-col gap-1", tone)}>
      <span className="flex items-center gap-1.5 text-sm font-medium">
        <Icon aria-hidden className="size-4.5" />
        {t(words)}
      </span>
      {minor === 0n ? null : (
        <Amount minor={minor} currency={currency} sign="always" className="self-start text-[2.5rem] leading-12 font-semibold tracking-tight" />
      )}
    </div>
  );
}

/** A balance at the end of a row: words above, amount below. */
export function RowStanding({ minor, currency, words }: { minor: bigint; currency: string; words?: string }) {
  const { t } = useI18n();
  const { words: key, icon: Icon, tone } = standing(minor);
  return (
    <span className={cn("flex shrink-0 flex-col items-end", tone)}>
      <span className="flex items-center gap-1 text-xs">
        <Icon aria-hidden className="size-3.5" />
        {words ?? t(key)}
      </span>
      {minor === 0n ? null : <Amount minor={minor} currency={currency} sign="always" className="text-sm font-semibold" />}
    </span>
  );
}
