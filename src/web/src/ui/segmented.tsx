import { type KeyboardEvent, useRef } from "react";
import { cn } from "@/lib/cn";

interface Props<T extends string> {
  label: string;
  value: T;
  options: readonly { value: T; label: string }[];
  onChange(value: T): void;
  className?: string;
}

/** One of a few choices, all in sight. Arrow keys move between them. */
export function Segmented<T extends string>({ label, value, options, onChange, className }: Props<T>) {
  const group = useRef<HTMLDivElement>(null);
  const move = (event: KeyboardEvent) => {
    const step = event.key === "ArrowRight" || event.key === "ArrowDown" ? 1 : event.key === "ArrowLeft" || event.key === "ArrowUp" ? -1 : 0;
    if (step === 0) return;
    event.preventDefault();
    const at = options.findIndex((option) => option.value === value);
    const next = (at + step + options.length) % options.length;
    const chosen = options[next];
    if (!chosen) return;
    onChange(chosen.value);
    group.current?.querySelectorAll<HTMLButtonElement>("button")[next]?.focus();
  };
  return (
    <div ref={group} role="radiogroup" aria-label={label} className={cn("flex rounded-lg bg-sunken p-1", className)}>
      {options.map((option) => {
        const checked = option.value === value;
        return (
          <button
            key={option.value}
            type="button"
            role="radio"
            aria-checked={checked}
            tabIndex={checked ? 0 : -1}
            onClick={() => onChange(option.value)}
            onKeyDown={move}
            className={cn(
              "min-h-(--tap) min-w-0 flex-1 rounded-md px-2 text-sm leading-tight transition-colors duration-(--motion)",
              checked ? "bg-raised font-medium text-ink ring-1 ring-line" : "text-muted hover:text-ink",
            )}
          >
            {option.label}
          </button>
        );
      })}
    </div>
  );
}
