import { cn } from "@/lib/cn";

/** The wordmark: a circle that a coin closes. */
export function Logo({ className }: { className?: string }) {
  return (
    <span className={cn("inline-flex items-center gap-2.5 text-lg font-semibold tracking-tight", className)}>
      <svg aria-hidden viewBox="0 0 32 32" className="size-7">
        <rect width="32" height="32" rx="8" className="fill-accent" />
        <path d="M21.5 11.2A7 7 0 1 0 21.5 20.8" fill="none" strokeWidth="3.2" strokeLinecap="round" className="stroke-on-accent" />
        <circle cx="22.2" cy="16" r="2.4" className="fill-on-accent" />
      </svg>
      CliquePay
    </span>
  );
}
