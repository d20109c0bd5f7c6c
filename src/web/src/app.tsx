import { useQueryClient } from "@tanstack/react-query";
import { useCallback, useEffect, useMemo, useState } from "react";
import { I18nContext, i18nFor } from "@/i18n";
import { navigate, parseRoute, type Route, useHash } from "@/lib/router";
import { AuthScreen } from "@/screens/auth";
import { GroupScreen } from "@/screens/group/group";
import { HomeScreen } from "@/screens/home";
import { NewGroupScreen } from "@/screens/new-group";
import { SettingsScreen } from "@/screens/settings";
import { Shell } from "@/screens/shell";
import { LiveProvider } from "@/state/live";
import { effectiveLanguage, usePreferences } from "@/state/preferences";
import { loadSession, saveSession, type Session } from "@/state/session";
import { CrashGuard } from "@/ui/crash";
import { Toaster } from "@/ui/toast";

export function App() {
  const preferences = usePreferences();
  const language = effectiveLanguage(preferences);
  const i18n = useMemo(() => i18nFor(language, navigator.languages), [language]);
  useEffect(() => {
    document.documentElement.lang = language;
  }, [language]);
  return (
    <I18nContext value={i18n}>
      <CrashGuard>
        <Pages />
      </CrashGuard>
      <Toaster />
    </I18nContext>
  );
}

function Pages() {
  const queries = useQueryClient();
  const [session, setSession] = useState(loadSession);
  const [expired, setExpired] = useState(false);
  const hash = useHash();
  const route = useMemo(() => parseRoute(hash), [hash]);

  const signIn = useCallback((next: Session) => {
    saveSession(next);
    setSession(next);
    setExpired(false);
  }, []);
  const signedOut = useCallback(
    (reason: "asked" | "expired") => {
      saveSession(undefined);
      queries.clear();
      setSession(undefined);
      setExpired(reason === "expired");
      if (reason === "asked") navigate({ screen: "login" }, { replace: true });
    },
    [queries],
  );

  if (!session) return <AuthScreen mode={route.screen === "signup" ? "signup" : "login"} expired={expired} onSignedIn={signIn} />;
  return (
    <LiveProvider key={session.accessToken} session={session} onSignedOut={signedOut}>
      <Shell route={route}>
        <Page route={route} />
      </Shell>
    </LiveProvider>
  );
}

function Page({ route }: { route: Route }) {
  switch (route.screen) {
    case "new":
      return <NewGroupScreen />;
    case "settings":
      return <SettingsScreen />;
    case "group":
      return <GroupScreen key={route.roomId} roomId={route.roomId} tab={route.tab} sheet={route.sheet} />;
    default:
      return <HomeScreen />;
  }
}
