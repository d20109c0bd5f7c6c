import { ArrowUp, CircleAlert, Clock, MessageCircle, Plus, UserPlus } from "lucide-react";
import { type FormEvent, type KeyboardEvent, useEffect, useLayoutEffect, useMemo, useRef, useState } from "react";
import { useI18n } from "@/i18n";
import { useEntryMap, useLedger } from "@/ledger/queries";
import { cn } from "@/lib/cn";
import { routeHref } from "@/lib/router";
import { dayHeading, timeOfDay } from "@/lib/time";
import type { LocalEcho, Room } from "@/matrix/room-state";
import { buildTimeline, type TimelineItem } from "@/matrix/timeline";
import { useLive } from "@/state/live";
import { Empty, Skeleton } from "@/ui/bits";
import { Button } from "@/ui/button";
import { LinkedText } from "@/ui/linked-text";
import { type Names, useNames } from "../people";
import { EntryCard } from "./cards";
import { Notice } from "./notice";

/** What was typed and not sent, by room, for as long as the page lives. */
const drafts = new Map<string, string>();

/** How near to an end of the list counts as being there, in pixels. */
const NEAR = 120;

export function ChatTab({ room }: { room: Room }) {
  useReadReceipt(room);
  return (
    <main className="flex min-h-0 flex-1 flex-col">
      <TimelineList room={room} />
      <Composer room={room} />
    </main>
  );
}

/** Marks the newest event as read while the chat is in sight. */
function useReadReceipt(room: Room): void {
  const { matrix } = useLive();
  const { roomId } = room;
  const newest = room.events.at(-1)?.event_id;
  useEffect(() => {
    if (!newest) return;
    const mark = () => {
      // An unread mark that stays is no harm: the next event or visit tries again.
      if (document.visibilityState === "visible") void matrix.markRead(roomId, newest).catch(() => undefined);
    };
    mark();
    document.addEventListener("visibilitychange", mark);
    return () => document.removeEventListener("visibilitychange", mark);
  }, [matrix, roomId, newest]);
}

function TimelineList({ room }: { room: Room }) {
  const { t } = useI18n();
  const { userId } = useLive();
  const names = useNames(room.roomId);
  const entries = useEntryMap(room.roomId);
  const items = useMemo(() => buildTimeline(room.events, room.echoes, entries), [room.events, room.echoes, entries]);
  const now = useClock();
  const { list, onScroll, loading, failed, loadOlder } = usePagedScroll(room, items);
  return (
    <div ref={list} onScroll={onScroll} className="min-h-0 flex-1 overflow-y-auto overscroll-contain">
      <div className="mx-auto flex min-h-full w-full max-w-2xl flex-col justify-end px-4 py-4">
        <div className="flex min-h-10 flex-col items-center justify-center">
          {loading ? <Skeleton className="w-40" /> : null}
          {failed ? (
            <Button variant="link" onClick={() => void loadOlder()}>
              {t("chat.older_failed")}
            </Button>
          ) : null}
          {room.prevBatch === undefined ? <p className="text-xs text-muted">{t("chat.beginning")}</p> : null}
        </div>
        <ol aria-label={t("tab.chat")} className="flex flex-col">
          {items.map((item) => (
            <li key={item.key}>
              <Row item={item} room={room} names={names} now={now} mine={"event" in item && item.event.sender === userId} />
            </li>
          ))}
        </ol>
        {items.some((item) => item.kind !== "notice" && item.kind !== "day") ? null : <FirstSteps roomId={room.roomId} />}
      </div>
    </div>
  );
}

/** What to do in a group in which nobody has written anything yet. */
function FirstSteps({ roomId }: { roomId: string }) {
  const { t } = useI18n();
  const { data: ledger } = useLedger(roomId);
  return (
    <Empty
      icon={MessageCircle}
      title={t("chat.empty_title")}
      action={
        <div className="flex flex-wrap justify-center gap-2 pt-2">
          {ledger ? (
            <Button asChild>
              <a href={routeHref({ screen: "group", roomId, tab: "chat", sheet: { kind: "add" } })}>
                <Plus aria-hidden className="size-4.5" />
                {t("tab.add_long")}
              </a>
            </Button>
          ) : null}
          <Button asChild variant="secondary">
            <a href={routeHref({ screen: "group", roomId, tab: "people" })}>
              <UserPlus aria-hidden className="size-4.5" />
              {t("chat.empty_invite")}
            </a>
          </Button>
        </div>
      }
    >
      {t("chat.empty")}
    </Empty>
  );
}

/** The time, to the minute: so that "today" becomes "yesterday" while the page stays open. */
function useClock(): number {
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 60_000);
    return () => clearInterval(timer);
  }, []);
  return now;
}

/** Keeps the list at its end while the reader is there, and in place while older rows come in above. */
function usePagedScroll(room: Room, items: readonly TimelineItem[]) {
  const { store } = useLive();
  const list = useRef<HTMLDivElement>(null);
  const atEnd = useRef(true);
  const height = useRef(0);
  const firstKey = useRef<string>(undefined);
  const [loading, setLoading] = useState(false);
  const [failed, setFailed] = useState(false);
  const first = items[0]?.key;

  useLayoutEffect(() => {
    const element = list.current;
    if (!element) return;
    const prepended = firstKey.current !== undefined && firstKey.current !== first;
    if (atEnd.current) element.scrollTop = element.scrollHeight;
    else if (prepended) element.scrollTop += element.scrollHeight - height.current;
    height.current = element.scrollHeight;
    firstKey.current = first;
  }, [items, first]);

  useEffect(() => {
    const element = list.current;
    if (!element || typeof ResizeObserver === "undefined") return;
    const observer = new ResizeObserver(() => {
      if (atEnd.current) element.scrollTop = element.scrollHeight;
    });
    observer.observe(element);
    return () => observer.disconnect();
  }, []);

  const loadOlder = async () => {
    setLoading(true);
    setFailed(false);
    try {
      await store.loadOlder(room.roomId);
    } catch {
      setFailed(true);
    } finally {
      setLoading(false);
    }
  };

  const onScroll = () => {
    const element = list.current;
    if (!element) return;
    atEnd.current = element.scrollHeight - element.scrollTop - element.clientHeight < NEAR;
    height.current = element.scrollHeight;
    if (element.scrollTop < NEAR && room.prevBatch !== undefined && !loading && !failed) void loadOlder();
  };

  // A short page may not fill the screen: then nothing could be scrolled to ask for more.
  useEffect(() => {
    const element = list.current;
    if (element && element.scrollHeight <= element.clientHeight && room.prevBatch !== undefined && !loading && !failed) void loadOlder();
  });

  return { list, onScroll, loading, failed, loadOlder };
}

interface RowProps {
  item: TimelineItem;
  room: Room;
  names: Names;
  mine: boolean;
  /** For "today" and "yesterday". */
  now: number;
}

function Row({ item, room, names, mine, now }: RowProps) {
  const { t, locale } = useI18n();
  switch (item.kind) {
    case "day":
      return <p className="py-3 text-center text-xs font-medium text-muted first-letter:uppercase">{dayHeading(item.ts, now, locale)}</p>;
    case "card":
      return <EntryCard roomId={room.roomId} event={item.event} entry={item.entry} names={names} />;
    case "notice":
      return <Notice room={room} event={item.event} names={names} />;
    case "echo":
      return <Echo echo={item.echo} roomId={room.roomId} />;
    case "removed":
      return (
        <Bubble mine={mine} quiet>
          {t("chat.removed", { name: names.of(item.event.sender) })}
        </Bubble>
      );
    case "message":
      return (
        <div className={cn("flex flex-col", item.continues ? "pt-0.5" : "pt-3", mine ? "items-end" : "items-start")}>
          {!item.continues && !mine ? <span className="ps-3.5 pb-0.5 text-xs font-medium text-muted">{names.of(item.event.sender)}</span> : null}
          <Bubble
            mine={mine}
            foot={
              <>
                {item.edited ? <span>{t("chat.edited")}</span> : null}
                <time dateTime={new Date(item.event.origin_server_ts).toISOString()}>{timeOfDay(item.event.origin_server_ts, locale)}</time>
              </>
            }
          >
            <LinkedText text={item.emote ? `${names.of(item.event.sender)} ${item.body}` : item.body} />
          </Bubble>
          {item.lineChanged ? (
            <p className="flex max-w-[85%] gap-1.5 pt-1 text-xs text-warning">
              <CircleAlert aria-hidden className="mt-0.5 size-4 shrink-0" />
              {t("chat.line_changed")}
            </p>
          ) : null}
        </div>
      );
  }
}

const footClass = "items-center gap-1.5 text-xs text-muted tabular-nums select-none";

interface BubbleProps {
  mine: boolean;
  quiet?: boolean;
  foot?: React.ReactNode;
  children: React.ReactNode;
}

function Bubble({ mine, quiet, foot, children }: BubbleProps) {
  return (
    <div
      className={cn(
        "relative w-fit max-w-[85%] rounded-2xl px-3.5 py-2",
        mine ? "rounded-ee-md bg-accent-soft" : "rounded-es-md bg-sunken",
        quiet && "mt-2 text-sm text-muted italic",
        quiet && mine && "ms-auto",
      )}
    >
      <span dir="auto" className="[overflow-wrap:anywhere] whitespace-pre-wrap">{children}</span>
      {/* The first copy only keeps the place free at the end of the last line. */}
      {foot ? <span aria-hidden className={cn(footClass, "invisible ms-3 inline-flex h-4")}>{foot}</span> : null}
      {foot ? <span className={cn(footClass, "absolute end-3.5 bottom-1.5 flex")}>{foot}</span> : null}
    </div>
  );
}

/** A message that is on its way: at once in its place, and honest about where it stands. */
function Echo({ echo, roomId }: { echo: LocalEcho; roomId: string }) {
  const { t } = useI18n();
  const { store } = useLive();
  const failed = echo.status === "failed";
  return (
    <div className="flex flex-col items-end pt-1.5">
      <Bubble mine foot={failed ? null : <Clock role="img" aria-label={t("chat.sending")} className="size-3.5" />}>
        {echo.body}
      </Bubble>
      {failed ? (
        <div role="alert" className="flex items-center gap-1 text-sm text-negative">
          <CircleAlert aria-hidden className="size-4" />
          {t("chat.not_sent")}
          <Button variant="link" className="px-2" onClick={() => void store.send(roomId, echo.body, echo.txnId)}>
            {t("common.try_again")}
          </Button>
          <Button variant="link" className="px-2 text-muted" onClick={() => store.dropEcho(roomId, echo.txnId)}>
            {t("chat.discard")}
          </Button>
        </div>
      ) : null}
    </div>
  );
}

function Composer({ room }: { room: Room }) {
  const { t } = useI18n();
  const { store } = useLive();
  const [text, setText] = useState(drafts.get(room.roomId) ?? "");
  const field = useRef<HTMLTextAreaElement>(null);
  const change = (value: string) => {
    setText(value);
    drafts.set(room.roomId, value);
  };
  useLayoutEffect(() => {
    const element = field.current;
    if (!element) return;
    element.style.blockSize = "auto";
    element.style.blockSize = `${Math.min(element.scrollHeight, 144)}px`;
  }, [text]);
  const send = (event?: FormEvent) => {
    event?.preventDefault();
    const body = text.trim();
    if (body === "") return;
    change("");
    void store.send(room.roomId, body);
    field.current?.focus();
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key !== "Enter" || event.shiftKey || event.nativeEvent.isComposing) return;
    event.preventDefault();
    send();
  };
  if (room.encrypted) return <p className="border-t border-line px-5 py-3 text-sm text-muted">{t("chat.encrypted")}</p>;
  return (
    <form onSubmit={send} className="shrink-0 border-t border-line bg-surface px-3 py-2">
      <div className="mx-auto flex max-w-2xl items-end gap-2">
        <textarea
          ref={field}
          name="message"
          rows={1}
          dir="auto"
          value={text}
          aria-label={t("chat.message")}
          placeholder={t("chat.message")}
          enterKeyHint="send"
          onChange={(event) => change(event.target.value)}
          onKeyDown={onKeyDown}
          className="min-h-(--tap) flex-1 resize-none rounded-[1.375rem] bg-sunken px-4 py-2.5 leading-6 placeholder:text-faint focus-visible:outline-offset-0"
        />
        <Button type="submit" size="icon" className="rounded-full" aria-label={t("chat.send")} aria-disabled={text.trim() === ""}>
          <ArrowUp aria-hidden className="size-5" />
        </Button>
      </div>
    </form>
  );
}
