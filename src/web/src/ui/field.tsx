import { ChevronDown, CircleAlert } from "lucide-react";
import { type ComponentProps, type ReactNode, useId } from "react";
import { cn } from "@/lib/cn";

const control =
  "min-h-12 w-full rounded-lg border border-line-strong bg-surface px-3.5 text-base text-ink placeholder:text-faint focus-visible:outline-2 focus-visible:outline-offset-0 aria-invalid:border-negative disabled:opacity-50";

export function Input({ className, ...props }: ComponentProps<"input">) {
  return <input className={cn(control, className)} {...props} />;
}

/** The browser's own list: on a phone nothing beats it. */
export function Select({ className, ...props }: ComponentProps<"select">) {
  return (
    <div className="relative">
      <select className={cn(control, "appearance-none truncate pe-10", className)} {...props} />
      <ChevronDown aria-hidden className="pointer-events-none absolute end-3.5 top-1/2 size-4.5 -translate-y-1/2 text-muted" />
    </div>
  );
}

interface FieldProps {
  label: string;
  hint?: ReactNode;
  error?: string | undefined;
  className?: string;
  /** Gets the ids that tie the control to its label, hint and error. */
  children: (ids: { id: string; "aria-describedby": string; "aria-invalid": boolean }) => ReactNode;
}

/** A labelled control with its hint and, in the hint's place, what is wrong with it. */
export function Field({ label, hint, error, className, children }: FieldProps) {
  const id = useId();
  const describedBy = `${id}-note`;
  return (
    <div className={cn("flex flex-col gap-1.5", className)}>
      <label htmlFor={id} className="text-sm font-medium text-ink">
        {label}
      </label>
      {children({ id, "aria-describedby": describedBy, "aria-invalid": error !== undefined })}
      <p id={describedBy} className={cn("flex items-start gap-1.5 text-xs empty:hidden", error ? "text-negative" : "text-muted")}>
        {error ? <CircleAlert aria-hidden className="mt-0.5 size-4 shrink-0" /> : null}
        {error ?? hint}
      </p>
    </div>
  );
}
