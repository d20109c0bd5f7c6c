// @vitest-environment jsdom
import { describe, expect, it, vi } from "vitest";
import { MatrixClient, NeedsToken, register } from "./client";
import { Http, MatrixError, NetworkError } from "./http";
import { backoff, runSync } from "./sync-loop";

const json = (status: number, body: unknown) => new Response(JSON.stringify(body), { status });

describe("requests", () => {
  it("carry the token, the query and the body", async () => {
    const fetcher = vi.fn(async () => json(200, { ok: true }));
    const http = new Http("https://x", "secret", fetcher);
    await expect(http.request("PUT", "/a/b", { query: { limit: 5, from: undefined }, body: { x: 1 } })).resolves.toEqual({ ok: true });
    expect(fetcher).toHaveBeenCalledWith("https://x/a/b?limit=5", expect.objectContaining({
      method: "PUT", body: '{"x":1}', headers: { "Content-Type": "application/json", Authorization: "Bearer secret" },
    }));
  });

  it("fail with the server's own words and the field it names", async () => {
    const http = new Http("", undefined, async () => json(400, { errcode: "M_INVALID_PARAM", error: "does not add up", field: "owed[1].amount" }));
    const error: unknown = await http.request("GET", "/").catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(MatrixError);
    expect(error).toMatchObject({ status: 400, errcode: "M_INVALID_PARAM", message: "does not add up", field: "owed[1].amount" });
  });

  it("fail as a MatrixError even where a proxy answered in HTML", async () => {
    const http = new Http("", undefined, async () => new Response("<h1>Bad gateway</h1>", { status: 502 }));
    await expect(http.request("GET", "/")).rejects.toMatchObject({ status: 502, errcode: "M_UNKNOWN" });
  });

  it("fail as a network error where nobody answered, or not in JSON", async () => {
    const dead = new Http("", undefined, async () => Promise.reject(new TypeError("failed to fetch")));
    await expect(dead.request("GET", "/")).rejects.toBeInstanceOf(NetworkError);
    const odd = new Http("", undefined, async () => new Response("<h1>Welcome</h1>", { status: 200 }));
    await expect(odd.request("GET", "/")).rejects.toBeInstanceOf(NetworkError);
  });
});

describe("signing up", () => {
  const account = { user_id: "@a:x", access_token: "t", device_id: "D" };

  it("takes one request where the server allows it", async () => {
    const fetcher = vi.fn(async () => json(200, account));
    await expect(register(new Http("", undefined, fetcher), "a", "password")).resolves.toEqual(account);
    expect(fetcher).toHaveBeenCalledTimes(1);
  });

  it("goes on with the session the server gives", async () => {
    const bodies: Record<string, unknown>[] = [];
    const fetcher = async (_: string, init?: RequestInit) => {
      const body = JSON.parse(String(init?.body)) as { auth: Record<string, unknown> };
      bodies.push(body.auth);
      return body.auth.session ? json(200, account) : json(401, { flows: [{ stages: ["m.login.dummy"] }], session: "s9" });
    };
    await expect(register(new Http("", undefined, fetcher), "a", "password")).resolves.toEqual(account);
    expect(bodies).toEqual([{ type: "m.login.dummy" }, { type: "m.login.dummy", session: "s9" }]);
  });

  it("asks for a registration token where the server wants one", async () => {
    const fetcher = async () => json(401, { flows: [{ stages: ["m.login.registration_token"] }], session: "s9" });
    await expect(register(new Http("", undefined, fetcher), "a", "password")).rejects.toBeInstanceOf(NeedsToken);
  });
});

describe("the sync loop", () => {
  it("waits ever longer, with some chance in it, up to half a minute", () => {
    expect([1, 2, 3, 4, 5, 6, 9].map((failures) => backoff(failures, 1))).toEqual([1000, 2000, 4000, 8000, 16000, 30000, 30000]);
    expect(backoff(3, 0)).toBe(2000);
  });

  it("hands on each token, says when it is offline, and ends when the session has", async () => {
    vi.useFakeTimers();
    const asked: string[] = [];
    const answers = [
      () => json(200, { next_batch: "s1" }),
      () => Promise.reject(new TypeError("offline")),
      () => json(200, { next_batch: "s2" }),
      () => json(401, { errcode: "M_UNKNOWN_TOKEN", error: "gone" }),
    ];
    const fetcher = async (url: string) => {
      const query = new URL(url, "https://x").searchParams;
      asked.push(`${query.get("since")} ${query.get("timeout")}`);
      return (answers.shift() ?? (() => json(500, {})))();
    };
    const log: string[] = [];
    const ended = runSync(new MatrixClient(new Http("", "t", fetcher)), {
      onResponse: (response) => log.push(response.next_batch),
      onConnection: (connection) => log.push(connection),
      onSignedOut: () => log.push("signed out"),
    }, new AbortController().signal);
    await vi.runAllTimersAsync();
    await ended;
    vi.useRealTimers();
    expect(asked).toEqual(["null 0", "s1 30000", "s1 0", "s2 30000"]);
    expect(log).toEqual(["online", "s1", "offline", "online", "s2", "signed out"]);
  });
});
