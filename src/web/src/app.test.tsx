import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { cleanup, render, screen, waitFor, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { App } from "./app";
import { leaveFor } from "./lib/leave";
import { shouldRetry } from "./ledger/queries";
import { type Mock, startMock } from "./test/mock";
import { dismissToasts } from "./ui/toast";

vi.mock("./lib/leave", () => ({ leaveFor: vi.fn() }));

let mock: Mock;
beforeAll(async () => {
  mock = await startMock();
});
afterAll(() => mock.stop());
beforeEach(() => {
  vi.stubGlobal("fetch", mock.fetch);
  vi.spyOn(navigator, "languages", "get").mockReturnValue(["en-GB"]);
  mock.offline = false;
  localStorage.clear();
  window.location.hash = "#/login";
});
afterEach(() => {
  cleanup();
  dismissToasts();
  vi.unstubAllGlobals();
});

function open() {
  const queries = new QueryClient({ defaultOptions: { queries: { retry: shouldRetry, staleTime: 30_000 }, mutations: { networkMode: "always" } } });
  render(<QueryClientProvider client={queries}><App /></QueryClientProvider>);
  return userEvent.setup();
}

async function logIn(user: ReturnType<typeof userEvent.setup>, name = "ann") {
  await user.type(screen.getByLabelText("User name"), name);
  await user.type(screen.getByLabelText("Password"), "correct horse");
  await user.click(screen.getByRole("button", { name: "Log in" }));
  await screen.findByRole("link", { name: /Lisbon in May/ });
}

async function openGroup(user: ReturnType<typeof userEvent.setup>, tab?: string) {
  await user.click(screen.getByRole("link", { name: /Lisbon in May/ }));
  await screen.findByRole("heading", { name: "Lisbon in May" });
  if (tab) await user.click(within(screen.getByRole("navigation", { name: "Group" })).getByRole("link", { name: tab }));
}

/** The text of an element with its odd spaces and minus signs made plain. */
const text = (element: HTMLElement) => (element.textContent ?? "").replace(/\s/gu, " ").replace(/\u2212/g, "-");

describe("logging in", () => {
  it("says what is wrong, beside the field, before and after asking the server", async () => {
    const user = open();
    await user.click(screen.getByRole("button", { name: "Log in" }));
    expect(screen.getByLabelText("User name")).toHaveProperty("ariaInvalid", "true");
    screen.getByText("Enter your user name.");
    await user.type(screen.getByLabelText("User name"), "ann");
    await user.type(screen.getByLabelText("Password"), "wrong password");
    await user.click(screen.getByRole("button", { name: "Log in" }));
    await screen.findByText(/Name and password do not match/);
  });

  it("signs somebody up, into an empty home", async () => {
    window.location.hash = "#/signup";
    const user = open();
    await user.type(screen.getByLabelText("User name"), "newcomer");
    await user.type(screen.getByLabelText("Password"), "short");
    await user.click(screen.getByRole("button", { name: "Sign up" }));
    screen.getByText(/too short/);
    await user.type(screen.getByLabelText("Password"), " but longer");
    await user.click(screen.getByRole("button", { name: "Sign up" }));
    await screen.findByText("No groups yet");
    screen.getByText("You are all settled up");
  });

  it("keeps the session until its owner logs out", async () => {
    const user = open();
    await logIn(user);
    cleanup();
    const again = open();
    await screen.findByRole("link", { name: /Lisbon in May/ });
    await again.click(screen.getByRole("link", { name: "Settings" }));
    await again.click(await screen.findByRole("button", { name: "Log out" }));
    await screen.findByRole("heading", { name: "Welcome back" });
    expect(localStorage.getItem("cliquepay.session")).toBeNull();
  });
});

describe("logging in through a provider", () => {
  const PROVIDERS = { flows: [{ type: "m.login.sso", identity_providers: [{ id: "cognito", name: "Example accounts" }] }, { type: "m.login.token" }] };

  function offer(answer: unknown) {
    vi.stubGlobal("fetch", (path: string, init?: RequestInit) => {
      const asked = path === "/_matrix/client/v3/login" && (init?.method ?? "GET") === "GET";
      return asked ? Promise.resolve(Response.json(answer)) : mock.fetch(path, init);
    });
  }
  /** Goes to the provider and gives the address that it is told to come back to. */
  async function leave(user: ReturnType<typeof userEvent.setup>) {
    await user.click(await screen.findByRole("button", { name: "Continue with Example accounts" }));
    const gone = new URL(String(vi.mocked(leaveFor).mock.lastCall?.[0]), window.location.origin);
    expect(gone.pathname).toBe("/_matrix/client/v3/login/sso/redirect/cognito");
    return new URL(gone.searchParams.get("redirectUrl") ?? "");
  }
  function comeBack(address: URL, token: string) {
    cleanup();
    address.searchParams.set("loginToken", token);
    history.replaceState(null, "", `${address.pathname}${address.search}#/login`);
    open();
  }

  it("leads there and back into the app, and leaves no token in the address", async () => {
    offer(PROVIDERS);
    const address = await leave(open());
    expect(screen.queryByLabelText("Password")).toBeNull();
    comeBack(address, "ann-comes-from-her-provider");
    await screen.findByRole("link", { name: /Lisbon in May/ });
    expect(window.location.search).toBe("");
  });

  it("takes no token that this browser did not ask for, nor one that the server refuses", async () => {
    offer(PROVIDERS);
    const address = await leave(open());
    comeBack(new URL("/?login=somebody-elses", window.location.origin), "ann-comes-from-her-provider");
    await screen.findByText(/was not completed here/);
    expect(localStorage.getItem("cliquepay.session")).toBeNull();
    // What was noted is used up by that.
    comeBack(address, "ann-comes-from-her-provider");
    await screen.findByText(/was not completed here/);
    comeBack(await leave(userEvent.setup()), "another");
    await screen.findByText(/was not completed here/);
    expect(window.location.search).toBe("");
  });
});

it("home says where its reader stands, in each currency, in words and with a sign", async () => {
  await logIn(open());
  const standing = screen.getByRole("region", { name: "Where you stand" });
  expect(text(standing)).toMatch(/You are owed\+€\d+\.\d\d/);
  expect(text(standing)).toContain("You are owed+¥1,450");
  const flat = screen.getByRole("link", { name: /Flat 4b/ });
  expect(text(flat)).toMatch(/You owe-€35\.7[23]/);
});

it("an expense is split to the cent, says who takes the odd one, and is saved as a card", async () => {
  const user = open();
  await logIn(user);
  await openGroup(user);
  await user.click(await screen.findByRole("link", { name: "Add" }));
  const sheet = await screen.findByRole("dialog", { name: "Add expense" });
  await user.type(within(sheet).getByLabelText("Amount"), "100.01");
  await within(sheet).findByText(/^€0.01 does not divide evenly: it goes to (you|Ben|Carla|Dev)\.$/);
  const shares = within(sheet).getAllByRole("listitem").map((row) => /€([\d.]+)$/.exec(text(row))?.[1]).sort();
  expect(shares).toEqual(["25.00", "25.00", "25.00", "25.01"]);

  await user.click(within(sheet).getByRole("button", { name: "Save expense" }));
  within(sheet).getByText("Say what it was for.");
  await user.type(within(sheet).getByLabelText("What for?"), "Surf lesson");
  await user.click(within(sheet).getByRole("button", { name: "Save expense" }));
  await waitFor(() => expect(screen.queryByRole("dialog")).toBeNull());
  const card = await screen.findByRole("article", { name: "Surf lesson" });
  expect(text(card)).toMatch(/You paid€100\.01You lent\+€7[45]\.\d\d/);
  // The line in words that other apps show does not stand beside it.
  expect(screen.queryByText(/paid 100\.01 EUR/)).toBeNull();
});

it("exact shares have to add up before anything is sent", async () => {
  const user = open();
  await logIn(user);
  await openGroup(user);
  await user.click(await screen.findByRole("link", { name: "Add" }));
  const sheet = await screen.findByRole("dialog", { name: "Add expense" });
  await user.type(within(sheet).getByLabelText("Amount"), "30");
  await user.type(within(sheet).getByLabelText("What for?"), "Ice cream");
  await user.click(within(sheet).getByRole("button", { name: /^Paid by you/ }));
  await user.click(within(sheet).getByRole("radio", { name: "Exact amounts" }));
  const ben = within(sheet).getByLabelText("Share: Ben");
  await user.clear(ben);
  await user.type(ben, "10");
  within(sheet).getByText(/^€\d+\.\d\d (still to be shared out|too much shared out)\.$/);
  await user.click(within(sheet).getByRole("button", { name: "Save expense" }));
  within(sheet).getByText("The shares do not add up to the amount yet.");
});

it("a payment that waits for its reader's word counts once they confirm it", async () => {
  const user = open();
  await logIn(user);
  await openGroup(user, "Balances");
  const question = await screen.findByText("Ben says you were paid €60.00. Did it arrive?");
  const before = text(screen.getByTestId("my-standing"));
  await user.click(screen.getByRole("button", { name: "Yes, confirm" }));
  await waitFor(() => expect(question.isConnected).toBe(false));
  await waitFor(() => expect(text(screen.getByTestId("my-standing"))).not.toBe(before));
});

it("taking an entry back shows everybody's balance first", async () => {
  const user = open();
  await logIn(user);
  await openGroup(user, "Expenses");
  await user.click(await screen.findByRole("link", { name: /Flat by the river/ }));
  const sheet = await screen.findByRole("dialog", { name: /Flat by the river/ });
  await user.click(await within(sheet).findByRole("button", { name: "Take back" }));
  const after = within(sheet).getByText("Balances afterwards").closest("div")?.parentElement;
  for (const name of ["You", "Ben", "Carla", "Dev"]) within(after as HTMLElement).getByText(name);
  await user.click(within(sheet).getByRole("button", { name: "Back" }));
  within(sheet).getByRole("button", { name: "Take back" });
});

it("the three views answer who owes whom, and arrow keys move between them", async () => {
  const user = open();
  await logIn(user);
  await openGroup(user, "Balances");
  const simple = await screen.findByRole("radio", { name: "Simple" });
  expect(simple.getAttribute("aria-checked")).toBe("true");
  simple.focus();
  await user.keyboard("{ArrowRight}");
  expect(screen.getByRole("radio", { name: "Fewest" }).getAttribute("aria-checked")).toBe("true");
  screen.getByText(/The fewest payments of all/);
  await user.keyboard("{ArrowRight}");
  screen.getByText(/Every debt between two people/);
});

it("a message shows at once, stays when sending fails, and goes out on the next try, once", async () => {
  const user = open();
  await logIn(user);
  await openGroup(user);
  const field = screen.getByRole("textbox", { name: "Message" });
  mock.offline = true;
  await user.type(field, "Who has the tickets?{Enter}");
  await screen.findByText("Not sent.");
  screen.getByText("Who has the tickets?");
  mock.offline = false;
  await user.click(screen.getByRole("button", { name: "Try again" }));
  await waitFor(() => {
    expect(screen.queryByRole("img", { name: "Sending" })).toBeNull();
    expect(screen.queryByText("Not sent.")).toBeNull();
    expect(screen.getAllByText("Who has the tickets?")).toHaveLength(1);
  }, { timeout: 5_000 });
});

it("a group is made with the people who exist, and says who does not", async () => {
  const user = open();
  await logIn(user);
  await user.click(screen.getByRole("link", { name: "New group" }));
  await user.type(await screen.findByLabelText("What is it for?"), "Garden party");
  await user.type(screen.getByLabelText("Who is in?"), "nobody");
  await user.click(screen.getByRole("button", { name: "Create group" }));
  await screen.findByText("@nobody:localhost: there is no such user on this server");
  await user.click(screen.getByRole("button", { name: "Remove @nobody:localhost" }));
  await user.type(screen.getByLabelText("Who is in?"), "ben{Enter}");
  await user.click(screen.getByRole("button", { name: "Create group" }));
  await screen.findByRole("heading", { name: "Garden party" });
  await screen.findByText("You invited Ben");
});

it("settings change the language and the theme at once", async () => {
  const user = open();
  await logIn(user);
  await user.click(screen.getByRole("link", { name: "Settings" }));
  await user.click(await screen.findByRole("radio", { name: "Dark" }));
  expect(document.documentElement.dataset.theme).toBe("dark");
  await user.click(screen.getByRole("radio", { name: "Deutsch" }));
  screen.getByRole("heading", { name: "Einstellungen" });
  expect(document.documentElement.lang).toBe("de");
  await user.click(screen.getByRole("radio", { name: "English" }));
  await user.click(screen.getByRole("radio", { name: "System" }));
});
