import { type ChildProcess, spawn } from "node:child_process";
import { resolve } from "node:path";

/** A mock server of its own process, with the demonstration data. */
export interface Mock {
  url: string;
  /** While true, every request fails as without a network. */
  offline: boolean;
  /** What `fetch` is to be: paths without a host go to the mock server. */
  fetch(input: string, init?: RequestInit): Promise<Response>;
  stop(): void;
}

export async function startMock(): Promise<Mock> {
  const child = spawn(process.execPath, [resolve("mock/server.mjs"), "--port", "0", "--seed"], { stdio: ["ignore", "pipe", "inherit"] });
  const url = await addressOf(child);
  const mock: Mock = {
    url,
    offline: false,
    fetch: async (input, init = {}) => {
      if (mock.offline) throw new TypeError("failed to fetch");
      // jsdom's abort signals are not those of Node's fetch: the wish to abort is honoured by hand.
      const { signal, ...rest } = init;
      const request = fetchOfNode(`${url}${input}`, rest);
      if (!signal) return request;
      return Promise.race([
        request,
        new Promise<never>((_, reject) => signal.addEventListener("abort", () => reject(new DOMException("aborted", "AbortError")), { once: true })),
      ]);
    },
    stop: () => void child.kill(),
  };
  return mock;
}

const fetchOfNode = globalThis.fetch;

function addressOf(child: ChildProcess): Promise<string> {
  return new Promise((done, fail) => {
    child.once("error", fail);
    child.once("exit", () => fail(new Error("the mock server did not start")));
    child.stdout?.on("data", (chunk: Buffer) => {
      const match = /http:\/\/\S+/.exec(chunk.toString());
      if (match) done(match[0]);
    });
  });
}
