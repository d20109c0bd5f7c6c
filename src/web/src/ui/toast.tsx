import { CircleAlert, CircleCheck, X } from "lucide-react";
import { useEffect, useSyncExternalStore } from "react";
import { useI18n } from "@/i18n";
import { Button } from "./button";

interface Toast {
  id: number;
  text: string;
  tone: "done" | "problem";
  action?: { label: string; run(): void };
}

let toasts: readonly Toast[] = [];
let nextId = 0;
const listeners = new Set<() => void>();

function set(next: readonly Toast[]): void {
  toasts = next;
  for (const listener of listeners) listener();
}

/** Says briefly what has just happened; the newest replaces the one before. */
export function toast(text: string, options: { tone?: Toast["tone"]; action?: Toast["action"] } = {}): void {
  nextId += 1;
  set([{ id: nextId, text, tone: options.tone ?? "done", ...(options.action ? { action: options.action } : {}) }]);
}

export function dismissToasts(): void {
  set([]);
}

/** Long enough to read a sentence, longer where there is something to press. */
const SHOWN_MS = 5_000;
const SHOWN_WITH_ACTION_MS = 10_000;

export function Toaster() {
  const { t } = useI18n();
  const shown = useSyncExternalStore(subscribe, () => toasts);
  const current = shown[0];
  useEffect(() => {
    if (!current) return;
    const timer = setTimeout(dismissToasts, current.action ? SHOWN_WITH_ACTION_MS : SHOWN_MS);
    return () => clearTimeout(timer);
  }, [current]);
  const Icon = current?.tone === "problem" ? CircleAlert : CircleCheck;
  return (
    <div role="status" aria-live="polite" className="pointer-events-none fixed inset-x-0 top-[calc(var(--header-height)+0.5rem)] z-60 flex justify-center px-4 lg:top-auto lg:bottom-6">
      {current ? (
        <div key={current.id} className="sheet-in pointer-events-auto flex min-h-12 max-w-md items-center gap-2.5 rounded-lg bg-ink py-1 ps-3.5 pe-1 text-sm text-paper shadow-raised">
          <Icon aria-hidden className="size-4.5 shrink-0" />
          <p className="min-w-0 py-2">{current.text}</p>
          {current.action ? (
            <button
              type="button"
              className="tap shrink-0 rounded-md px-2.5 font-semibold underline underline-offset-4"
              onClick={() => {
                current.action?.run();
                dismissToasts();
              }}
            >
              {current.action.label}
            </button>
          ) : null}
          <Button variant="quiet" size="icon" aria-label={t("common.dismiss")} className="text-paper hover:not-disabled:bg-transparent" onClick={dismissToasts}>
            <X aria-hidden className="size-4" />
          </Button>
        </div>
      ) : null}
    </div>
  );
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}
