import { Component, type ReactNode } from "react";
import { useI18n } from "@/i18n";
import { Empty } from "./bits";
import { Button } from "./button";
import { TriangleAlert } from "lucide-react";

/** Shows what to do when a screen failed to draw, instead of a white page. */
export class CrashGuard extends Component<{ children: ReactNode }, { crashed: boolean }> {
  override state = { crashed: false };

  static getDerivedStateFromError() {
    return { crashed: true };
  }

  override render() {
    return this.state.crashed ? <Crashed /> : this.props.children;
  }
}

function Crashed() {
  const { t } = useI18n();
  return (
    <main className="grid min-h-dvh place-items-center">
      <Empty icon={TriangleAlert} title={t("crash.title")} action={<Button onClick={() => window.location.reload()}>{t("crash.reload")}</Button>}>
        {t("crash.text")}
      </Empty>
    </main>
  );
}
