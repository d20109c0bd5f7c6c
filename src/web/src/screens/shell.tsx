import { CloudOff, House, type LucideIcon, Plus, Settings } from "lucide-react";
import type { ReactNode } from "react";
import { useI18n } from "@/i18n";
import { useGroups } from "@/ledger/queries";
import { cn } from "@/lib/cn";
import { localpartOf } from "@/lib/ids";
import { type Route, routeHref } from "@/lib/router";
import { useLive, useLiveState } from "@/state/live";
import { Avatar, SkeletonRows } from "@/ui/bits";
import { Logo } from "@/ui/logo";
import { useWide } from "@/ui/media";
import { GroupBalance } from "./home";

/** The frame around every screen: the side bar on a wide one, the bottom bar on a phone. */
export function Shell({ route, children }: { route: Route; children: ReactNode }) {
  const wide = useWide();
  if (wide) {
    return (
      <div className="flex h-dvh">
        <SideBar route={route} />
        <div className="flex min-w-0 flex-1 flex-col">
          <OfflineBanner />
          {children}
        </div>
      </div>
    );
  }
  return (
    <div className="flex h-dvh flex-col">
      <OfflineBanner />
      {children}
      {route.screen === "group" ? null : <HomeBar route={route} />}
    </div>
  );
}

function OfflineBanner() {
  const { t } = useI18n();
  const { connection } = useLiveState();
  return (
    <div role="status">
      {connection === "offline" ? (
        <p className="fade-in flex items-center justify-center gap-2 bg-warning-soft px-4 py-2 text-sm text-warning">
          <CloudOff aria-hidden className="size-4 shrink-0" />
          {t("offline.banner")}
        </p>
      ) : null}
    </div>
  );
}

/** The bar at the foot of a phone's screen. */
export function BottomBar({ label, children }: { label: string; children: ReactNode }) {
  return (
    <nav aria-label={label} className="shrink-0 border-t border-line bg-surface pb-(--safe-bottom)">
      <div className="mx-auto flex h-(--nav-height) max-w-lg items-stretch px-1">{children}</div>
    </nav>
  );
}

interface BarItemProps {
  icon: LucideIcon;
  label: string;
  href: string;
  current?: boolean;
  prominent?: boolean;
}

export function BarItem({ icon: Icon, label, href, current, prominent }: BarItemProps) {
  return (
    <a
      href={href}
      aria-current={current ? "page" : undefined}
      className={cn(
        "flex min-w-0 flex-1 flex-col items-center justify-center gap-0.5 rounded-lg text-[0.75rem] leading-4 -outline-offset-2",
        current ? "font-medium text-accent" : "text-muted",
      )}
    >
      <span className={cn("grid place-items-center", prominent && "h-7 w-11 rounded-full bg-accent text-on-accent")}>
        <Icon aria-hidden className={prominent ? "size-5" : "size-5.5"} strokeWidth={current ? 2.25 : 1.75} />
      </span>
      <span className="max-w-full truncate">{label}</span>
    </a>
  );
}

function HomeBar({ route }: { route: Route }) {
  const { t } = useI18n();
  return (
    <BottomBar label={t("nav.main")}>
      <BarItem icon={House} label={t("nav.home")} href={routeHref({ screen: "home" })} current={route.screen === "home"} />
      <BarItem icon={Plus} label={t("nav.new_group")} href={routeHref({ screen: "new" })} current={route.screen === "new"} prominent />
      <BarItem icon={Settings} label={t("nav.settings")} href={routeHref({ screen: "settings" })} current={route.screen === "settings"} />
    </BottomBar>
  );
}

function SideBar({ route }: { route: Route }) {
  const { t } = useI18n();
  const { userId } = useLive();
  return (
    <nav aria-label={t("nav.main")} className="flex w-56 shrink-0 flex-col border-e border-line bg-surface xl:w-64">
      <a href={routeHref({ screen: "home" })} className="flex h-(--header-height) items-center px-4">
        <Logo className="text-base" />
      </a>
      <div className="flex flex-col gap-0.5 px-2 pt-2">
        <SideItem icon={House} label={t("nav.home")} href={routeHref({ screen: "home" })} current={route.screen === "home"} />
        <SideItem icon={Plus} label={t("nav.new_group")} href={routeHref({ screen: "new" })} current={route.screen === "new"} />
      </div>
      <SideGroups route={route} />
      <div className="border-t border-line p-2">
        <a
          href={routeHref({ screen: "settings" })}
          aria-current={route.screen === "settings" ? "page" : undefined}
          className="flex min-h-(--tap) items-center gap-2.5 rounded-lg px-2 hover:bg-sunken aria-[current]:bg-sunken"
        >
          <Avatar name={localpartOf(userId)} className="size-8" />
          <span className="min-w-0 flex-1 truncate text-sm">{localpartOf(userId)}</span>
          <Settings aria-label={t("nav.settings")} className="size-4.5 text-muted" />
        </a>
      </div>
    </nav>
  );
}

function SideItem({ icon: Icon, label, href, current }: { icon: LucideIcon; label: string; href: string; current: boolean }) {
  return (
    <a href={href} aria-current={current ? "page" : undefined} className="flex min-h-10 items-center gap-2.5 rounded-lg px-2.5 text-sm hover:bg-sunken aria-[current]:bg-sunken aria-[current]:font-medium">
      <Icon aria-hidden className="size-4.5 text-muted" />
      {label}
    </a>
  );
}

function SideGroups({ route }: { route: Route }) {
  const { t } = useI18n();
  const { data, isPending } = useGroups();
  return (
    <div className="mt-4 min-h-0 flex-1 overflow-y-auto px-2">
      <h2 className="px-2.5 pb-1 text-xs font-medium text-muted">{t("home.groups")}</h2>
      {isPending ? <div className="px-2.5"><SkeletonRows rows={3} label={t("common.loading")} /></div> : null}
      <ul className="flex flex-col gap-0.5">
        {data?.groups.map((group) => (
          <li key={group.room_id}>
            <a
              href={routeHref({ screen: "group", roomId: group.room_id, tab: "chat" })}
              aria-current={route.screen === "group" && route.roomId === group.room_id ? "page" : undefined}
              className="flex min-h-12 items-center gap-2.5 rounded-lg px-2.5 hover:bg-sunken aria-[current]:bg-sunken"
            >
              <span className="min-w-0 flex-1 truncate text-sm font-medium">{group.name}</span>
              <GroupBalance group={group} compact />
            </a>
          </li>
        ))}
      </ul>
    </div>
  );
}
