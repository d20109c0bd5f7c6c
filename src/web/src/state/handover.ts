import { randomId } from "@/lib/ids";
import { loginWithToken } from "@/matrix/client";
import type { Http } from "@/matrix/http";
import type { LoginResponse } from "@/matrix/types";

/**
 * A log-in through a provider leaves the page and comes back with a token in the address. What is noted here before tells on the
 * way back that it was this browser that went: an address with a token in it can be sent to anybody.
 */
const KEY = "cliquepay.login";
const PARAMETER = "login";

/** Notes that this browser goes to log in; gives the address that it is to come back to. */
export function handOver(): string {
  const mark = randomId();
  try {
    sessionStorage.setItem(KEY, mark);
  } catch {
    // Without storage the way back is not recognised, and says so.
  }
  return `${location.origin}/?${PARAMETER}=${mark}`;
}

/** A token came in the address for which this browser did not ask. */
export class ForeignReturn extends Error {
  constructor() {
    super("this browser did not begin that log-in");
    this.name = "ForeignReturn";
  }
}

/** Ends the log-in that came back, if one did. Its token is taken out of the address at once. */
export async function loginThatReturned(http: Http): Promise<LoginResponse | undefined> {
  const token = takeToken();
  return token === undefined ? undefined : loginWithToken(http, token);
}

function takeToken(): string | undefined {
  const query = new URLSearchParams(location.search);
  const token = query.get("loginToken");
  if (token === null) return undefined;
  const mark = takeMark();
  history.replaceState(null, "", `${location.pathname}${location.hash}`);
  if (mark === null || query.get(PARAMETER) !== mark) throw new ForeignReturn();
  return token;
}

function takeMark(): string | null {
  try {
    const mark = sessionStorage.getItem(KEY);
    sessionStorage.removeItem(KEY);
    return mark;
  } catch {
    return null;
  }
}
