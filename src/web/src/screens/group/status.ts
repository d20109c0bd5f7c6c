import { Ban, CircleHelp, Clock, type LucideIcon, MessageCircleWarning, ShieldAlert, TriangleAlert, Undo2 } from "lucide-react";
import type { MessageKey } from "@/i18n";
import type { EntryStatus } from "@/ledger/types";

export interface StatusView {
  label: MessageKey;
  /** The plain sentence; may take `{name}` (who is waited for, or who did it). */
  sentence: MessageKey;
  tone: "neutral" | "positive" | "negative" | "warning";
  icon: LucideIcon;
  /** Whether the entry's amount is struck out: it moves no balance. */
  struck: boolean;
}

const VIEWS: Record<Exclude<EntryStatus, "counts" | "noted">, StatusView> = {
  pending: { label: "status.pending", sentence: "status.pending_text", tone: "warning", icon: Clock, struck: false },
  disputed: { label: "status.disputed", sentence: "status.disputed_text", tone: "negative", icon: MessageCircleWarning, struck: true },
  void: { label: "status.void", sentence: "status.void_text", tone: "neutral", icon: Undo2, struck: true },
  superseded: { label: "status.superseded", sentence: "status.superseded_text", tone: "neutral", icon: Undo2, struck: true },
  conflict: { label: "status.conflict", sentence: "status.conflict_text", tone: "warning", icon: TriangleAlert, struck: false },
  unauthorised: { label: "status.unauthorised", sentence: "status.unauthorised_text", tone: "warning", icon: ShieldAlert, struck: true },
  invalid: { label: "status.invalid", sentence: "status.invalid_text", tone: "negative", icon: Ban, struck: true },
  orphaned: { label: "status.unauthorised", sentence: "status.orphaned_text", tone: "warning", icon: ShieldAlert, struck: true },
  redacted: { label: "status.redacted", sentence: "status.redacted_text", tone: "neutral", icon: Ban, struck: true },
};

/** How a status is shown; undefined for an entry that simply counts. A status of a newer server counts as unknown. */
export function statusView(status: EntryStatus): StatusView | undefined {
  if (status === "counts" || status === "noted") return undefined;
  return VIEWS[status] ?? { label: "status.unknown", sentence: "status.unknown_text", tone: "neutral", icon: CircleHelp, struck: false };
}
