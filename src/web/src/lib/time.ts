/** "14:05", in the reader's locale and zone. */
export function timeOfDay(ts: number, locale: string): string {
  return new Intl.DateTimeFormat(locale, { hour: "2-digit", minute: "2-digit" }).format(ts);
}

/** A day's heading: the weekday for this week, else the date; the year only where it is another one. */
export function dayHeading(ts: number, now: number, locale: string): string {
  const days = dayNumber(now) - dayNumber(ts);
  if (days >= 0 && days <= 1) return new Intl.RelativeTimeFormat(locale, { numeric: "auto" }).format(-days, "day");
  const sameYear = new Date(ts).getFullYear() === new Date(now).getFullYear();
  return new Intl.DateTimeFormat(locale, {
    weekday: days > 1 && days < 7 ? "long" : undefined,
    day: "numeric",
    month: "long",
    year: sameYear ? undefined : "numeric",
  }).format(ts);
}

/** "22 Nov", for lists. */
export function shortDate(ts: number, locale: string): string {
  return new Intl.DateTimeFormat(locale, { day: "numeric", month: "short" }).format(ts);
}

/** "22 November 2026, 14:05", for one entry's own page. */
export function fullDate(ts: number, locale: string): string {
  return new Intl.DateTimeFormat(locale, { dateStyle: "long", timeStyle: "short" }).format(ts);
}

/** A calendar date of the wire ("2026-11-22") as the reader writes it, without going through a time zone. */
export function calendarDate(date: string, locale: string): string {
  const ts = Date.parse(`${date}T12:00:00Z`);
  return Number.isNaN(ts) ? date : new Intl.DateTimeFormat(locale, { dateStyle: "long", timeZone: "UTC" }).format(ts);
}

/** Whether two moments are on the same day in the reader's zone. */
export function sameDay(a: number, b: number): boolean {
  return dayNumber(a) === dayNumber(b);
}

function dayNumber(ts: number): number {
  const date = new Date(ts);
  return Math.floor(Date.UTC(date.getFullYear(), date.getMonth(), date.getDate()) / 86_400_000);
}
