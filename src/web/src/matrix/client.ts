import { type AuthFlows, type LoginResponse, type MatrixEvent, type MessagesResponse, type Profile, type SyncResponse } from "./types";
import { Http, MatrixError } from "./http";

const V3 = "/_matrix/client/v3";
const enc = encodeURIComponent;

/** What this device is called in the account's list of devices. */
const DEVICE_NAME = "CliquePay";

/** Events per room in one /sync, and per page of older ones. */
export const PAGE_SIZE = 30;

const SYNC_FILTER = JSON.stringify({
  room: { timeline: { limit: PAGE_SIZE }, ephemeral: { types: [] }, account_data: { types: [] } },
  presence: { types: [] },
  account_data: { types: [] },
});

/** The server wants more than a name and a password before it makes an account. */
export class NeedsToken extends Error {
  constructor(readonly session: string | undefined) {
    super("this server wants a registration token");
    this.name = "NeedsToken";
  }
}

/**
 * Makes an account. Goes through the `m.login.dummy` stage, or `m.login.registration_token` with `token`.
 * Throws NeedsToken where the server offers only the latter and none was given.
 */
export async function register(http: Http, username: string, password: string, token?: string): Promise<LoginResponse> {
  const body = { username, password, initial_device_display_name: DEVICE_NAME };
  const send = (auth: Record<string, unknown>) => http.request<LoginResponse>("POST", `${V3}/register`, { body: { ...body, auth } });
  const auth = token ? { type: "m.login.registration_token", token } : { type: "m.login.dummy" };
  try {
    return await send(auth);
  } catch (error) {
    const offered = flowsOf(error);
    if (!offered) throw error;
    const stages = offered.flows.map((flow) => flow.stages);
    const wanted = stages.some((flow) => flow.every((stage) => stage === auth.type));
    if (!wanted && stages.some((flow) => flow.includes("m.login.registration_token"))) throw new NeedsToken(offered.session);
    if (!wanted || !offered.session) throw error;
    return send({ ...auth, session: offered.session });
  }
}

/** The stages a 401 offers; undefined where the error says that the attempt itself was wrong. */
function flowsOf(error: unknown): AuthFlows | undefined {
  if (!(error instanceof MatrixError) || error.status !== 401 || !Array.isArray(error.body.flows)) return undefined;
  return error.body as unknown as AuthFlows;
}

/** Logs in with a name (or a whole user id) and a password. */
export function login(http: Http, user: string, password: string): Promise<LoginResponse> {
  return http.request("POST", `${V3}/login`, {
    body: { type: "m.login.password", identifier: { type: "m.id.user", user }, password, initial_device_display_name: DEVICE_NAME },
  });
}

/** Somebody through whom people log in; without an id the server chooses. */
export interface Provider {
  id?: string;
  name?: string;
}

/** The ways to log in that this app can use. */
export interface LoginWays {
  password: boolean;
  providers: Provider[];
}

interface LoginFlow {
  type: string;
  identity_providers?: { id: string; name?: string }[];
}

/** Asks how people log in here. */
export async function loginWays(http: Http): Promise<LoginWays> {
  const { flows } = await http.request<{ flows: LoginFlow[] }>("GET", `${V3}/login`);
  const sso = flows.find((flow) => flow.type === "m.login.sso");
  const named = sso?.identity_providers ?? [];
  const password = flows.some((flow) => flow.type === "m.login.password");
  // Without names the server's own page is meant, which asks for the same password.
  return { password, providers: named.length > 0 || !sso || password ? named : [{}] };
}

/** Where a browser goes to log in through a provider, who then sends it to `redirectUrl` with a token. */
export function providerHref(provider: Provider, redirectUrl: string): string {
  const id = provider.id === undefined ? "" : `/${enc(provider.id)}`;
  return `${V3}/login/sso/redirect${id}?redirectUrl=${enc(redirectUrl)}`;
}

/** Logs in with the token that a provider's log-in ends with. It opens once. */
export function loginWithToken(http: Http, token: string): Promise<LoginResponse> {
  return http.request("POST", `${V3}/login`, { body: { type: "m.login.token", token, initial_device_display_name: DEVICE_NAME } });
}

/** The calls of a person who is logged in. Every call throws MatrixError or NetworkError. */
export class MatrixClient {
  constructor(readonly http: Http) {}

  whoami(): Promise<{ user_id: string; device_id?: string }> {
    return this.http.request("GET", `${V3}/account/whoami`);
  }

  async logout(): Promise<void> {
    await this.http.request("POST", `${V3}/logout`, { body: {} });
  }

  /** One /sync. Without `since` it answers at once with everything; with it, waits up to `timeoutMs` for news. */
  sync(since: string | undefined, timeoutMs: number, signal: AbortSignal): Promise<SyncResponse> {
    const query = { filter: SYNC_FILTER, since, timeout: since ? timeoutMs : 0 };
    return this.http.request("GET", `${V3}/sync`, { query, signal, timeoutMs: timeoutMs + 30_000 });
  }

  /** A page of events older than `from`, newest first. No `end` in the answer means that the room starts here. */
  messages(roomId: string, from: string): Promise<MessagesResponse> {
    return this.http.request("GET", `${V3}/rooms/${enc(roomId)}/messages`, { query: { dir: "b", from, limit: PAGE_SIZE } });
  }

  members(roomId: string): Promise<{ chunk: MatrixEvent[] }> {
    return this.http.request("GET", `${V3}/rooms/${enc(roomId)}/members`);
  }

  createRoom(body: { name: string; invite?: string[]; preset?: string }): Promise<{ room_id: string }> {
    return this.http.request("POST", `${V3}/createRoom`, { body });
  }

  async invite(roomId: string, userId: string): Promise<void> {
    await this.http.request("POST", `${V3}/rooms/${enc(roomId)}/invite`, { body: { user_id: userId } });
  }

  join(roomId: string): Promise<{ room_id: string }> {
    return this.http.request("POST", `${V3}/join/${enc(roomId)}`, { body: {} });
  }

  async leave(roomId: string): Promise<void> {
    await this.http.request("POST", `${V3}/rooms/${enc(roomId)}/leave`, { body: {} });
  }

  /** Sends an event. Repeating a transaction id sends nothing twice. */
  send(roomId: string, type: string, txnId: string, content: unknown): Promise<{ event_id: string }> {
    return this.http.request("PUT", `${V3}/rooms/${enc(roomId)}/send/${enc(type)}/${enc(txnId)}`, { body: content });
  }

  /** Says that everything up to an event has been read here. */
  async markRead(roomId: string, eventId: string): Promise<void> {
    await this.http.request("POST", `${V3}/rooms/${enc(roomId)}/receipt/m.read/${enc(eventId)}`, { body: {} });
  }

  profile(userId: string): Promise<Profile> {
    return this.http.request("GET", `${V3}/profile/${enc(userId)}`);
  }

  async setDisplayName(userId: string, displayname: string): Promise<void> {
    await this.http.request("PUT", `${V3}/profile/${enc(userId)}/displayname`, { body: { displayname } });
  }
}
