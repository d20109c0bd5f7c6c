import { LogOut } from "lucide-react";
import { type FormEvent, useState } from "react";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { type Language, LANGUAGES, useI18n } from "@/i18n";
import { localpartOf } from "@/lib/ids";
import { explain } from "@/lib/problem";
import { useLive } from "@/state/live";
import { setPreferences, type Theme, usePreferences } from "@/state/preferences";
import { Avatar } from "@/ui/bits";
import { Button } from "@/ui/button";
import { Field, Input } from "@/ui/field";
import { Page } from "@/ui/page";
import { Segmented } from "@/ui/segmented";
import { toast } from "@/ui/toast";

export function SettingsScreen() {
  const { t, language } = useI18n();
  const { theme } = usePreferences();
  const { signOut } = useLive();
  const themes: { value: Theme; label: string }[] = [
    { value: "system", label: t("settings.theme_system") },
    { value: "light", label: t("settings.theme_light") },
    { value: "dark", label: t("settings.theme_dark") },
  ];
  const languages = Object.entries(LANGUAGES).map(([value, label]) => ({ value: value as Language, label }));
  return (
    <Page title={t("settings.title")}>
      <ProfileForm />
      <Setting title={t("settings.theme")}>
        <Segmented label={t("settings.theme")} value={theme} options={themes} onChange={(value) => setPreferences({ theme: value })} />
      </Setting>
      <Setting title={t("settings.language")}>
        <Segmented label={t("settings.language")} value={language} options={languages} onChange={(value) => setPreferences({ language: value })} />
      </Setting>
      <Button variant="secondary" size="lg" className="sm:self-start" onClick={() => void signOut()}>
        <LogOut aria-hidden className="size-4.5 rtl:-scale-x-100" />
        {t("settings.log_out")}
      </Button>
    </Page>
  );
}

function Setting({ title, children }: { title: string; children: React.ReactNode }) {
  return (
    <section className="flex max-w-md flex-col gap-2">
      <h2 className="text-sm font-medium">{title}</h2>
      {children}
    </section>
  );
}

function ProfileForm() {
  const { t } = useI18n();
  const { matrix, userId } = useLive();
  const queries = useQueryClient();
  const { data } = useQuery({ queryKey: ["profile", userId], queryFn: () => matrix.profile(userId) });
  const [typed, setTyped] = useState<string>();
  const [busy, setBusy] = useState(false);
  const name = typed ?? data?.displayname ?? "";
  const changed = typed !== undefined && typed.trim() !== "" && typed !== (data?.displayname ?? "");
  const save = async (event: FormEvent) => {
    event.preventDefault();
    if (!changed) return;
    setBusy(true);
    try {
      await matrix.setDisplayName(userId, name.trim());
      await queries.invalidateQueries({ queryKey: ["profile", userId] });
      setTyped(undefined);
      toast(t("settings.name_saved"));
    } catch (error) {
      toast(explain(error, t), { tone: "problem" });
    } finally {
      setBusy(false);
    }
  };
  return (
    <form className="flex max-w-md flex-col gap-4" onSubmit={(event) => void save(event)}>
      <div className="flex items-center gap-3">
        <Avatar name={name || localpartOf(userId)} className="size-12 text-base" />
        <p className="min-w-0">
          <span className="block truncate font-medium">{name || localpartOf(userId)}</span>
          <span className="block truncate font-mono text-xs text-muted">{userId}</span>
        </p>
      </div>
      <Field label={t("settings.name")} hint={t("settings.name_hint")}>
        {(ids) => (
          <div className="flex gap-2">
            <Input {...ids} name="displayname" value={name} autoComplete="nickname" maxLength={100} onChange={(event) => setTyped(event.target.value)} />
            <Button type="submit" variant="secondary" className="min-h-12" disabled={!changed || busy}>
              {t("common.save")}
            </Button>
          </div>
        )}
      </Field>
    </form>
  );
}
