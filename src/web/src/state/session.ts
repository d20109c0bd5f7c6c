/** Who is logged in on this device. */
export interface Session {
  userId: string;
  accessToken: string;
  deviceId: string;
}

const KEY = "cliquepay.session";

export function loadSession(): Session | undefined {
  try {
    const value: unknown = JSON.parse(localStorage.getItem(KEY) ?? "null");
    return isSession(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

export function saveSession(session: Session | undefined): void {
  try {
    if (session) localStorage.setItem(KEY, JSON.stringify(session));
    else localStorage.removeItem(KEY);
  } catch {
    // Storage can be refused (private windows): the session then lasts as long as the page.
  }
}

function isSession(value: unknown): value is Session {
  if (typeof value !== "object" || value === null) return false;
  const { userId, accessToken, deviceId } = value as Record<string, unknown>;
  return typeof userId === "string" && typeof accessToken === "string" && typeof deviceId === "string";
}
