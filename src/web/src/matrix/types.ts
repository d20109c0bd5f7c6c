/** The parts of the Matrix Client-Server API that this app reads and writes. */
export interface MatrixEvent<C = Record<string, unknown>> {
  event_id: string;
  type: string;
  sender: string;
  origin_server_ts: number;
  content: C;
  state_key?: string;
  unsigned?: {
    transaction_id?: string;
    redacted_because?: unknown;
    prev_content?: Record<string, unknown>;
    "m.relations"?: { "m.replace"?: unknown };
  };
}

/** A state event of an invitation: without id and time. */
export interface StrippedEvent {
  type: string;
  state_key: string;
  sender: string;
  content: Record<string, unknown>;
}

export interface Timeline {
  events: MatrixEvent[];
  limited?: boolean;
  prev_batch?: string;
}

export interface JoinedRoomUpdate {
  timeline?: Timeline;
  state?: { events: MatrixEvent[] };
  unread_notifications?: { notification_count?: number; highlight_count?: number };
}

export interface SyncResponse {
  next_batch: string;
  rooms?: {
    join?: Record<string, JoinedRoomUpdate>;
    invite?: Record<string, { invite_state?: { events: StrippedEvent[] } }>;
    leave?: Record<string, { timeline?: Timeline }>;
  };
}

export interface MessagesResponse {
  chunk: MatrixEvent[];
  start: string;
  end?: string;
  state?: MatrixEvent[];
}

/** What signing up or logging in gives. */
export interface LoginResponse {
  user_id: string;
  access_token: string;
  device_id: string;
}

export interface Profile {
  displayname?: string;
  avatar_url?: string;
}

/** The steps a server wants before it makes an account. */
export interface AuthFlows {
  session?: string;
  flows: { stages: string[] }[];
}
