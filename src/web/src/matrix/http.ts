/** An error that a server answered with: a Matrix errcode and a sentence. */
export class MatrixError extends Error {
  constructor(
    readonly status: number,
    readonly errcode: string,
    message: string,
    /** The whole body: some errors carry more (`field`, `retry_after_ms`, `flows`). */
    readonly body: Readonly<Record<string, unknown>> = {},
  ) {
    super(message);
    this.name = "MatrixError";
  }

  /** The JSON path of the field an entry was refused for, where the server names one. */
  get field(): string | undefined {
    return typeof this.body.field === "string" ? this.body.field : undefined;
  }

  /** Milliseconds the server asks to wait, where it limits the rate. */
  get retryAfter(): number | undefined {
    const wait = this.body.retry_after_ms;
    return typeof wait === "number" && wait >= 0 ? wait : undefined;
  }
}

/** The server could not be reached, or its answer could not be read. */
export class NetworkError extends Error {
  constructor(cause: unknown) {
    super("the server could not be reached", { cause });
    this.name = "NetworkError";
  }
}

export type FetchLike = (input: string, init?: RequestInit) => Promise<Response>;
export type Query = Readonly<Record<string, string | number | boolean | undefined>>;

export interface RequestOptions {
  query?: Query;
  body?: unknown;
  signal?: AbortSignal;
  /** Ends the request after this long; 30 s by default. */
  timeoutMs?: number;
}

const DEFAULT_TIMEOUT_MS = 30_000;

/** JSON over HTTP to one homeserver, with or without an access token. */
export class Http {
  constructor(
    readonly baseUrl: string,
    readonly accessToken: string | undefined,
    private readonly fetcher: FetchLike = (input, init) => fetch(input, init),
  ) {}

  /** Sends a request and gives the answer's JSON. Throws MatrixError or NetworkError; an abort is passed through. */
  async request<T>(method: "GET" | "POST" | "PUT", path: string, options: RequestOptions = {}): Promise<T> {
    const { response, body } = await this.exchange(method, path, options);
    if (!response.ok) throw errorFrom(response, body);
    return body as T;
  }

  private async exchange(method: string, path: string, options: RequestOptions): Promise<{ response: Response; body: unknown }> {
    const timeout = AbortSignal.timeout(options.timeoutMs ?? DEFAULT_TIMEOUT_MS);
    const signal = options.signal ? anySignal(options.signal, timeout) : timeout;
    try {
      const response = await this.fetcher(this.url(path, options.query), {
        method,
        signal,
        headers: this.headers(options.body !== undefined),
        ...(options.body === undefined ? {} : { body: JSON.stringify(options.body) }),
      });
      const body: unknown = await response.json().catch((error: unknown) => {
        if (response.ok) throw error;
        return {};
      });
      return { response, body };
    } catch (error) {
      if (options.signal?.aborted) throw error;
      throw new NetworkError(error);
    }
  }

  private headers(hasBody: boolean): Record<string, string> {
    return {
      ...(hasBody ? { "Content-Type": "application/json" } : {}),
      ...(this.accessToken ? { Authorization: `Bearer ${this.accessToken}` } : {}),
    };
  }

  private url(path: string, query: Query = {}): string {
    const params = new URLSearchParams();
    for (const [name, value] of Object.entries(query)) {
      if (value !== undefined) params.set(name, String(value));
    }
    const text = params.toString();
    return `${this.baseUrl}${path}${text ? `?${text}` : ""}`;
  }
}

function errorFrom(response: Response, body: unknown): MatrixError {
  const fields = typeof body === "object" && body !== null ? (body as Record<string, unknown>) : {};
  const errcode = typeof fields.errcode === "string" ? fields.errcode : "M_UNKNOWN";
  const message = typeof fields.error === "string" ? fields.error : `HTTP ${response.status}`;
  return new MatrixError(response.status, errcode, message, fields);
}

/** AbortSignal.any, which browsers of before 2024 lack. */
function anySignal(...signals: AbortSignal[]): AbortSignal {
  if (typeof AbortSignal.any === "function") return AbortSignal.any(signals);
  const controller = new AbortController();
  for (const signal of signals) {
    if (signal.aborted) controller.abort(signal.reason);
    else signal.addEventListener("abort", () => controller.abort(signal.reason), { once: true });
  }
  return controller.signal;
}
