import { type FormEvent, useCallback, useEffect, useState } from "react";
import { useI18n } from "@/i18n";
import { explain } from "@/lib/problem";
import { navigate, routeHref } from "@/lib/router";
import { login, type LoginWays, loginWays, NeedsToken, register } from "@/matrix/client";
import { Http, MatrixError } from "@/matrix/http";
import type { LoginResponse } from "@/matrix/types";
import { Providers } from "@/screens/providers";
import { ForeignReturn, loginThatReturned } from "@/state/handover";
import type { Session } from "@/state/session";
import { Note } from "@/ui/bits";
import { Button } from "@/ui/button";
import { Field, Input } from "@/ui/field";
import { Logo } from "@/ui/logo";

/** Shortest password asked for on this side; the server may want more. */
const SHORTEST_PASSWORD = 8;

type Problem = { field?: "name" | "password" | "token"; text: string };

interface Props {
  mode: "login" | "signup";
  expired: boolean;
  onSignedIn(session: Session): void;
}

export function AuthScreen({ mode, expired, onSignedIn }: Props) {
  const { t } = useI18n();
  const [name, setName] = useState("");
  const [password, setPassword] = useState("");
  const [token, setToken] = useState<string>();
  const [problem, setProblem] = useState<Problem>();
  const [busy, setBusy] = useState(false);
  const signup = mode === "signup";

  const ways = useWays();

  const enter = useCallback(
    (answer: LoginResponse) => {
      onSignedIn({ userId: answer.user_id, accessToken: answer.access_token, deviceId: answer.device_id });
      navigate({ screen: "home" }, { replace: true });
    },
    [onSignedIn],
  );

  useEffect(() => {
    const refused = (error: unknown) => error instanceof ForeignReturn || (error instanceof MatrixError && error.status === 403);
    loginThatReturned(new Http("", undefined)).then(
      (answer) => answer && enter(answer),
      (error: unknown) => setProblem({ text: refused(error) ? t("auth.provider_failed") : explain(error, t) }),
    );
  }, [enter, t]);

  const submit = async (event: FormEvent) => {
    event.preventDefault();
    const user = name.trim();
    const early = check(user, password, signup);
    setProblem(early && { field: early.field, text: t(early.key) });
    if (early) return;
    setBusy(true);
    try {
      const http = new Http("", undefined);
      const answer = signup ? await register(http, user.toLowerCase(), password, token || undefined) : await login(http, user, password);
      enter(answer);
    } catch (error) {
      if (error instanceof NeedsToken) setToken("");
      setProblem(problemOf(error, signup, t));
    } finally {
      setBusy(false);
    }
  };

  return (
    <main className="mx-auto flex min-h-dvh w-full max-w-sm flex-col justify-center gap-8 px-5 py-10">
      <header className="flex flex-col gap-4">
        <Logo />
        <h1 className="text-2xl leading-8 font-semibold tracking-tight">{t(signup ? "auth.signup_title" : "auth.login_title")}</h1>
        <p className="text-muted">{t("auth.pitch")}</p>
      </header>
      {expired ? <Note role="status">{t("auth.expired")}</Note> : null}
      {problem && !problem.field ? <Note tone="negative" role="alert">{problem.text}</Note> : null}
      {ways.providers.length > 0 ? <Providers providers={ways.providers} /> : null}
      {ways.password && ways.providers.length > 0 ? <p className="text-center text-sm text-muted">{t("auth.or_password")}</p> : null}
      {ways.password ? <form className="flex flex-col gap-5" onSubmit={(event) => void submit(event)} noValidate>
        <Field label={t("auth.name")} hint={signup ? t("auth.name_hint") : undefined} error={problem?.field === "name" ? problem.text : undefined}>
          {(ids) => <Input {...ids} name="username" value={name} autoComplete="username" autoCapitalize="none" autoCorrect="off" spellCheck={false} onChange={(event) => setName(event.target.value)} />}
        </Field>
        <Field
          label={t("auth.password")}
          hint={signup ? t("auth.password_hint", { count: SHORTEST_PASSWORD }) : undefined}
          error={problem?.field === "password" ? problem.text : undefined}
        >
          {(ids) => <Input {...ids} name="password" type="password" value={password} autoComplete={signup ? "new-password" : "current-password"} onChange={(event) => setPassword(event.target.value)} />}
        </Field>
        {signup && token !== undefined ? (
          <Field label={t("auth.token")} hint={t("auth.token_hint")} error={problem?.field === "token" ? problem.text : undefined}>
            {(ids) => <Input {...ids} name="token" value={token} autoCapitalize="none" autoComplete="off" onChange={(event) => setToken(event.target.value)} />}
          </Field>
        ) : null}
        <Button type="submit" size="lg" disabled={busy}>
          {t(busy ? "common.one_moment" : signup ? "auth.signup" : "auth.login")}
        </Button>
      </form> : null}
      {ways.password ? <p className="text-sm text-muted">
        {t(signup ? "auth.have_account" : "auth.no_account")}{" "}
        <a className="inline-flex min-h-(--tap) items-center font-medium text-accent underline-offset-4 hover:underline" href={routeHref({ screen: signup ? "login" : "signup" })}>
          {t(signup ? "auth.login" : "auth.signup")}
        </a>
      </p> : null}
    </main>
  );
}

/** How people log in here; with a password until the server says otherwise. */
function useWays(): LoginWays {
  const [ways, setWays] = useState<LoginWays>({ password: true, providers: [] });
  useEffect(() => {
    let gone = false;
    // Whoever cannot be asked now says so when somebody logs in.
    loginWays(new Http("", undefined)).then((found) => !gone && setWays(found), () => undefined);
    return () => {
      gone = true;
    };
  }, []);
  return ways;
}

function check(user: string, password: string, signup: boolean) {
  if (user === "") return { field: "name", key: "auth.name_missing" } as const;
  if (signup && !/^[a-z0-9._=/-]+$/i.test(user)) return { field: "name", key: "auth.name_invalid" } as const;
  if (password === "") return { field: "password", key: "auth.password_missing" } as const;
  if (signup && password.length < SHORTEST_PASSWORD) return { field: "password", key: "auth.password_short" } as const;
  return undefined;
}

function problemOf(error: unknown, signup: boolean, t: ReturnType<typeof useI18n>["t"]): Problem {
  if (error instanceof NeedsToken) return { field: "token", text: t("auth.token_needed") };
  if (!(error instanceof MatrixError)) return { text: explain(error, t) };
  if (error.errcode === "M_USER_IN_USE") return { field: "name", text: t("auth.name_taken") };
  if (error.errcode === "M_INVALID_USERNAME") return { field: "name", text: t("auth.name_invalid") };
  if (error.errcode === "M_WEAK_PASSWORD") return { field: "password", text: t("auth.password_weak", { detail: error.message }) };
  if (!signup && error.errcode === "M_FORBIDDEN") return { field: "password", text: t("auth.wrong") };
  if (error.status === 401 && signup) return { field: "token", text: t("auth.token_wrong") };
  return { text: explain(error, t) };
}
