import { type LucideIcon, TriangleAlert } from "lucide-react";
import type { ReactNode } from "react";
import { cn } from "@/lib/cn";

/** A person or a group by the first letter of their name. */
export function Avatar({ name, square, className }: { name: string; square?: boolean; className?: string }) {
  const letter = [...name.replace(/^[@#!]/, "").trim()][0]?.toLocaleUpperCase() ?? "?";
  return (
    <span
      aria-hidden
      className={cn("grid size-10 shrink-0 place-items-center bg-sunken text-sm font-semibold text-muted", square ? "rounded-lg" : "rounded-full", className)}
    >
      {letter}
    </span>
  );
}

export function Skeleton({ className }: { className?: string }) {
  return <div aria-hidden className={cn("skeleton h-4", className)} />;
}

/** Rows of skeletons in the place of a list. */
export function SkeletonRows({ rows = 4, label }: { rows?: number; label: string }) {
  return (
    <div role="status" aria-label={label} className="flex flex-col">
      {Array.from({ length: rows }, (_, row) => (
        <div key={row} className="flex items-center gap-3 py-3">
          <Skeleton className="size-10 rounded-lg" />
          <div className="flex flex-1 flex-col gap-2">
            <Skeleton className="w-2/5" />
            <Skeleton className="h-3 w-3/5" />
          </div>
          <Skeleton className="w-16" />
        </div>
      ))}
    </div>
  );
}

type Tone = "neutral" | "positive" | "negative" | "warning" | "accent";

const TONES: Record<Tone, string> = {
  neutral: "bg-sunken text-muted",
  positive: "bg-positive-soft text-positive",
  negative: "bg-negative-soft text-negative",
  warning: "bg-warning-soft text-warning",
  accent: "bg-accent-soft text-accent",
};

export function Badge({ tone = "neutral", icon: Icon, children }: { tone?: Tone; icon?: LucideIcon; children: ReactNode }) {
  return (
    <span className={cn("inline-flex items-center gap-1 rounded-md px-1.5 py-0.5 text-xs font-medium whitespace-nowrap", TONES[tone])}>
      {Icon ? <Icon aria-hidden className="size-3.5" /> : null}
      {children}
    </span>
  );
}

interface NoteProps {
  tone?: Tone;
  icon?: LucideIcon;
  title?: string;
  children?: ReactNode;
  action?: ReactNode;
  role?: "alert" | "status";
  className?: string;
}

/** A sentence that wants to be read: what happened, what was kept, what to do next. */
export function Note({ tone = "warning", icon: Icon = TriangleAlert, title, children, action, role, className }: NoteProps) {
  return (
    <div role={role} className={cn("flex flex-col gap-2 rounded-lg px-3.5 py-3 text-sm", TONES[tone], className)}>
      <div className="flex gap-2.5">
        <Icon aria-hidden className="mt-0.5 size-4.5 shrink-0" />
        <div className="min-w-0 flex-1">
          {title ? <p className="font-medium">{title}</p> : null}
          {children ? <div className="text-ink">{children}</div> : null}
        </div>
      </div>
      {action ? <div className="flex flex-wrap gap-2 ps-7">{action}</div> : null}
    </div>
  );
}

/** What stands where nothing is yet, with the first thing to do. */
export function Empty({ icon: Icon, title, children, action }: { icon: LucideIcon; title: string; children?: ReactNode; action?: ReactNode }) {
  return (
    <div className="flex flex-col items-center gap-3 px-6 py-12 text-center">
      <Icon aria-hidden className="size-7 text-faint" strokeWidth={1.5} />
      <p className="font-medium">{title}</p>
      {children ? <p className="max-w-xs text-sm text-muted">{children}</p> : null}
      {action}
    </div>
  );
}

export function SectionTitle({ children, aside }: { children: ReactNode; aside?: ReactNode }) {
  return (
    <div className="flex min-h-8 items-center justify-between gap-2">
      <h2 className="text-sm font-medium text-muted">{children}</h2>
      {aside}
    </div>
  );
}
