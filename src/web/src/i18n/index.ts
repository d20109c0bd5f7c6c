import { createContext, useContext } from "react";
import de from "./de.json";
import en from "./en.json";

/** A message's name. English is the complete list; i18n.test.ts checks that every language has the same. */
export type MessageKey = Exclude<keyof typeof en, `${string}_one` | `${string}_other`> | PluralKey;
type PluralKey = keyof typeof en extends infer K ? (K extends `${infer Base}_other` ? Base : never) : never;

export type Values = Readonly<Record<string, string | number>>;
export type Translate = (key: MessageKey, values?: Values) => string;

export const LANGUAGES = { en: "English", de: "Deutsch" } as const;
export type Language = keyof typeof LANGUAGES;

const MESSAGES: Record<Language, Readonly<Record<string, string>>> = { en, de };

/**
 * The sentence of a key in a language, its `{placeholders}` filled in. A key that comes as `_one` and
 * `_other` is chosen by `values.count`.
 */
export function translate(language: Language, key: MessageKey, values: Values = {}): string {
  const messages = MESSAGES[language];
  const template = messages[key] ?? messages[`${key}_${pluralForm(language, values.count)}`] ?? messages[`${key}_other`] ?? key;
  return template.replace(/\{(\w+)\}/g, (whole, name: string) => {
    const value = values[name];
    return value === undefined ? whole : String(value);
  });
}

function pluralForm(language: Language, count: string | number | undefined): string {
  return new Intl.PluralRules(language).select(Number(count ?? 0));
}

/** The reader's language: what they chose, else the browser's first one that we speak, else English. */
export function detectLanguage(preferred: readonly string[]): Language {
  for (const tag of preferred) {
    const base = tag.toLowerCase().split("-")[0];
    if (base && base in LANGUAGES) return base as Language;
  }
  return "en";
}

/**
 * The locale for numbers and dates: the browser's own regional form of the language ("en-GB"), so that a
 * British reader does not get American dates.
 */
export function localeFor(language: Language, preferred: readonly string[]): string {
  return preferred.find((tag) => tag.toLowerCase().split("-")[0] === language) ?? language;
}

export interface I18n {
  language: Language;
  locale: string;
  t: Translate;
}

export function i18nFor(language: Language, preferred: readonly string[]): I18n {
  return { language, locale: localeFor(language, preferred), t: (key, values) => translate(language, key, values) };
}

export const I18nContext = createContext<I18n>(i18nFor("en", ["en"]));

export function useI18n(): I18n {
  return useContext(I18nContext);
}
