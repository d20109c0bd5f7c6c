/** The currencies of the ledger's frozen table (ISO 4217) by the decimals of their minor unit. */
const BY_SCALE: Readonly<Record<number, string>> = {
  0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
  2:
    "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF CHW CNY COP COU " +
    "CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES " +
    "KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR " +
    "NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP " +
    "TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XAD XCD XCG YER ZAR ZMW ZWG",
  3: "BHD IQD JOD KWD LYD OMR TND",
  4: "CLF UYW",
};

const SCALES: ReadonlyMap<string, number> = new Map(
  Object.entries(BY_SCALE).flatMap(([scale, codes]) => codes.split(" ").map((code) => [code, Number(scale)] as const)),
);

/** Most decimals of a unit of a group's own (`x-beer`): all of them are kept, whatever the group declared. */
const CUSTOM_SCALE = 8;

/** Offered first when a group's currency is chosen. */
export const COMMON_CURRENCIES = ["EUR", "USD", "GBP", "CHF", "SEK", "NOK", "DKK", "PLN", "CZK", "INR", "JPY", "AUD", "CAD", "BRL"] as const;

/** Whether this is a unit of a group's own and no ISO 4217 currency. */
export function isCustom(currency: string): boolean {
  return currency.startsWith("x-");
}

/** Decimals that an amount is kept with (EUR 2, JPY 0, KWD 3). */
export function scaleOf(currency: string): number {
  return isCustom(currency) ? CUSTOM_SCALE : (SCALES.get(currency) ?? 2);
}

/** All currencies, the common ones first, the rest by code. */
export function currencyChoices(): string[] {
  const rest = [...SCALES.keys()].filter((code) => !(COMMON_CURRENCIES as readonly string[]).includes(code)).sort();
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
