import { useSyncExternalStore } from "react";
import { detectLanguage, type Language, LANGUAGES } from "@/i18n";

export type Theme = "system" | "light" | "dark";

/** What this device's reader chose; undefined follows the browser. */
export interface Preferences {
  theme: Theme;
  language: Language | undefined;
}

const KEY = "cliquepay.preferences";
const listeners = new Set<() => void>();
let current = load();

function load(): Preferences {
  try {
    const stored = JSON.parse(localStorage.getItem(KEY) ?? "{}") as Record<string, unknown>;
    const theme = stored.theme === "light" || stored.theme === "dark" ? stored.theme : "system";
    const language = typeof stored.language === "string" && stored.language in LANGUAGES ? (stored.language as Language) : undefined;
    return { theme, language };
  } catch {
    return { theme: "system", language: undefined };
  }
}

export function setPreferences(change: Partial<Preferences>): void {
  current = { ...current, ...change };
  try {
    localStorage.setItem(KEY, JSON.stringify(current));
  } catch {
    // Without storage the choice lasts as long as the page.
  }
  applyTheme();
  for (const listener of listeners) listener();
}

export function usePreferences(): Preferences {
  return useSyncExternalStore(subscribe, () => current);
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** The language in force. */
export function effectiveLanguage(preferences: Preferences): Language {
  return preferences.language ?? detectLanguage(navigator.languages);
}

/** Puts the theme in force on the document; tokens.css does the rest. */
export function applyTheme(): void {
  const dark = current.theme === "dark" || (current.theme === "system" && prefersDark()?.matches === true);
  document.documentElement.dataset.theme = dark ? "dark" : "light";
}

function prefersDark(): MediaQueryList | undefined {
  return typeof window.matchMedia === "function" ? window.matchMedia("(prefers-color-scheme: dark)") : undefined;
}

/** Follows the system's theme from now on. */
export function watchSystemTheme(): void {
  prefersDark()?.addEventListener("change", applyTheme);
}
