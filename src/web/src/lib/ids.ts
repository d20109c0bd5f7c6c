/** A random id of 26 lower-case letters and digits. Works without a secure context, unlike randomUUID. */
export function randomId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(26));
  return Array.from(bytes, (byte) => (byte % 36).toString(36)).join("");
}

/** Whether a text is a full Matrix user id. */
export function isUserId(text: string): boolean {
  return /^@[^\s:@]+:[^\s@/]+$/.test(text) && text.length <= 255;
}

/** The server part of a user id: "example.org" of "@ann:example.org". */
export function serverOf(userId: string): string {
  return userId.slice(userId.indexOf(":") + 1);
}

/** The name part of an id: "ann" of "@ann:example.org", "carl" of "carl~@ann:example.org" (a person without an account). */
export function localpartOf(userId: string): string {
  const tilde = userId.indexOf("~@");
  if (tilde > 0) return userId.slice(0, tilde);
  const colon = userId.indexOf(":");
  return userId.startsWith("@") ? userId.slice(1, colon < 0 ? undefined : colon) : userId;
}

/** Completes what somebody typed to a user id: "bob" becomes "@bob:" plus their own server. */
export function completeUserId(typed: string, ownServer: string): string {
  const text = typed.trim();
  if (text === "") return "";
  const withAt = text.startsWith("@") ? text : `@${text}`;
  return withAt.includes(":") ? withAt : `${withAt}:${ownServer}`;
}
