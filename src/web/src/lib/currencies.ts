/** Currencies whose ISO 4217 scale is not two decimals. */
const SCALES: Readonly<Record<string, number>> = {
  BIF: 0, CLP: 0, DJF: 0, GNF: 0, ISK: 0, JPY: 0, KMF: 0, KRW: 0, PYG: 0, RWF: 0,
  UGX: 0, UYI: 0, VND: 0, VUV: 0, XAF: 0, XOF: 0, XPF: 0,
  BHD: 3, IQD: 3, JOD: 3, KWD: 3, LYD: 3, OMR: 3, TND: 3,
  CLF: 4, UYW: 4,
};

/** Offered first when a group's currency is chosen. */
export const COMMON_CURRENCIES = ["EUR", "USD", "GBP", "CHF", "SEK", "NOK", "DKK", "PLN", "CZK", "INR", "JPY", "AUD", "CAD", "BRL"] as const;

/** Decimals of a currency's minor unit (EUR 2, JPY 0, KWD 3). */
export function scaleOf(currency: string): number {
  return SCALES[currency] ?? 2;
}

/** All currencies this browser can name, the common ones first, the rest by code. */
export function currencyChoices(): string[] {
  const known = typeof Intl.supportedValuesOf === "function" ? Intl.supportedValuesOf("currency") : [];
  const rest = known.filter((code) => !(COMMON_CURRENCIES as readonly string[]).includes(code));
  return [...COMMON_CURRENCIES, ...rest];
}

/** A currency's name in the reader's language, or its code where it has none. */
export function currencyName(currency: string, locale: string): string {
  try {
    return new Intl.DisplayNames([locale], { type: "currency" }).of(currency) ?? currency;
  } catch {
    return currency;
  }
}
