import { useI18n } from "@/i18n";
import { leaveFor } from "@/lib/leave";
import { type Provider, providerHref } from "@/matrix/client";
import { handOver } from "@/state/handover";
import { Button } from "@/ui/button";

/** A button for each provider through whom people log in. */
export function Providers({ providers }: { providers: Provider[] }) {
  const { t } = useI18n();
  return (
    <ul className="flex flex-col gap-3">
      {providers.map((provider) => (
        <li key={provider.id ?? ""} className="flex flex-col">
          <Button size="lg" variant="secondary" onClick={() => leaveFor(providerHref(provider, handOver()))}>
            {provider.name ? t("auth.with", { name: provider.name }) : t("auth.with_provider")}
          </Button>
        </li>
      ))}
    </ul>
  );
}
