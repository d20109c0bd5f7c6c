import type { Translate } from "@/i18n";
import { MatrixError, NetworkError } from "@/matrix/http";

/** What went wrong, as a sentence for a person: what happened, and what to do next. */
export function explain(error: unknown, t: Translate): string {
  if (error instanceof NetworkError) return t("error.network");
  if (!(error instanceof MatrixError)) return t("error.unknown");
  switch (error.errcode) {
    case "M_FORBIDDEN":
      return t("error.forbidden", { detail: error.message });
    case "M_LIMIT_EXCEEDED":
      return t("error.limited", { seconds: Math.max(1, Math.ceil((error.retryAfter ?? 5_000) / 1000)) });
    case "M_UNKNOWN_TOKEN":
    case "M_MISSING_TOKEN":
      return t("error.signed_out");
    default:
      return error.status >= 500 ? t("error.server", { detail: error.message }) : t("error.refused", { detail: error.message });
  }
}
