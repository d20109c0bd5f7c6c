// A browser for logging in through the provider, and what the scenario looks at. Pages run without scripts.

import assert from "node:assert/strict";
import { mkdir, readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { launchBrowser } from "../dinner.mjs";
import { Device, call, eventually } from "../../stock/js-sdk/party.mjs";

const AXE = createRequire(import.meta.url).resolve("axe-core");

/** Everything that one run has: the server's URL, the provider's facts, the browser, and a folder for pictures. */
export class World {
  constructor(url, provider, folder) {
    Object.assign(this, { url, provider, folder, trusted: `${provider.app}/trusted/` });
  }

  async begin() {
    if (this.folder) await mkdir(this.folder, { recursive: true });
    this.browser = await launchBrowser();
    return this;
  }

  /** Tells the provider something; see there. */
  async tell(wish) {
    const answer = await fetch(this.provider.control, { method: "POST", body: JSON.stringify(wish) });
    assert.equal(answer.status, 200);
    return answer.json();
  }

  /** How often an address of the provider was asked. */
  async asked(path) {
    return (await (await fetch(this.provider.control)).json())[path] ?? 0;
  }

  /** Whether a user name is free, as the server says. */
  async isFree(name) {
    const answer = await call(this.url, "GET", `/_matrix/client/v3/register/available?username=${encodeURIComponent(name)}`);
    assert.ok(answer.status === 200 || answer.body.errcode === "M_USER_IN_USE", JSON.stringify(answer.body));
    return answer.status === 200;
  }

  visitor(options) {
    return Visitor.open(this, options);
  }

  /** Uses a login up, and syncs with what it gave. */
  async client(login) {
    const answer = await call(this.url, "POST", "/_matrix/client/v3/login", { body: login });
    assert.equal(answer.status, 200, JSON.stringify(answer.body));
    const { user_id: userId, device_id: deviceId, access_token: accessToken } = answer.body;
    return new Device(this.url, { userId, deviceId, accessToken }).start();
  }
}

/** The heading of every page that says that somebody is not logged in. */
export const REFUSED = "You are not logged in";

/** The name of a user here who is called `name` there. */
export const userId = (name) => `@${name}:cliquepay.test`;

/** Somebody's browser: a profile of its own. */
export class Visitor {
  static async open(world, { language = "en-GB", colorScheme = "light", viewport = { width: 390, height: 844 }, scripts = false } = {}) {
    const context = await world.browser.newContext({ locale: language, colorScheme, viewport, javaScriptEnabled: scripts, deviceScaleFactor: 2 });
    const page = await context.newPage();
    page.setDefaultTimeout(20_000);
    const visitor = Object.assign(new Visitor(), { world, context, page });
    page.on("response", (response) => {
      if (response.request().isNavigationRequest() && response.frame() === page.mainFrame()) visitor.answer = response;
    });
    page.on("console", (message) => {
      if (/Content Security Policy/.test(message.text())) visitor.broken = message.text();
    });
    return visitor;
  }

  close() {
    return this.context.close();
  }

  /** Goes to log in for a client at `place`; the provider's page is next, unless it knows the browser. */
  async leave(place = this.world.trusted) {
    await this.page.goto(`${this.world.url}/_matrix/client/v3/login/sso/redirect/cognito?redirectUrl=${encodeURIComponent(place)}`);
  }

  /** The same for a client that knows of OAuth and names no provider: the server's own page is next. */
  async leaveForOwnPage(place = this.world.trusted) {
    await this.page.goto(`${this.world.url}/_matrix/client/v3/login/sso/redirect?action=login&redirectUrl=${encodeURIComponent(place)}`);
    await this.shows("Log in");
  }

  /** Fills the provider's form in. */
  async signIn(username) {
    assert.equal(new URL(this.page.url()).origin, this.world.provider.domain, "this is not the provider's page");
    await this.page.fill("[name=username]", username);
    await this.page.fill("[name=password]", this.world.provider.password);
    await this.page.click("button[value=sign-in]");
  }

  /** Fills the server's own form in. */
  async fillIn(username, password) {
    await this.page.fill("[name=username]", username);
    await this.page.fill("[name=password]", password);
    await this.page.click("button[type=submit]");
  }

  /** Goes there and fills the provider's form in. */
  async logIn(username, place) {
    await this.leave(place);
    await this.signIn(username);
  }

  /** Names the account of a newcomer. */
  async name(localpart) {
    await this.page.fill("[name=localpart]", localpart);
    await this.page.click("button[type=submit]");
  }

  /** Waits for a page of the server's with this heading; gives its text. */
  async shows(heading, { status = 200, words = [] } = {}) {
    await this.page.getByRole("heading", { level: 1, name: heading }).waitFor();
    assert.equal(this.answer.status(), status);
    const text = await this.page.innerText("main");
    for (const word of words) assert.ok(text.includes(word), `"${word}" is not in: ${text}`);
    assert.equal(this.broken, undefined);
    return text;
  }

  /** Waits until the browser is at the client; gives the login token that it brings. */
  async arrives(place = this.world.trusted) {
    await this.page.waitForURL((url) => url.href.startsWith(place));
    const token = new URL(this.page.url()).searchParams.get("loginToken");
    assert.ok(token, this.page.url());
    return token;
  }

  /** Where a code would be taken to: the provider's answer to the form, not followed into the server. */
  async callback(username) {
    const form = { username, password: this.world.provider.password, answer: "sign-in" };
    let answer = await this.context.request.post(this.page.url(), { form, maxRedirects: 0 });
    while (!answer.headers().location.startsWith(this.world.url)) {
      answer = await this.context.request.get(answer.headers().location, { maxRedirects: 0 });
    }
    return answer.headers().location;
  }

  async picture(name) {
    if (this.world.folder) await this.page.screenshot({ path: join(this.world.folder, `${name}.png`), fullPage: true });
  }

  /** What axe finds wrong with the page for people who see, hear or move otherwise. */
  async isAccessible() {
    await this.page.evaluate(await readFile(AXE, "utf8"));
    const { violations } = await this.page.evaluate("axe.run()");
    const found = violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`);
    assert.deepEqual(found, [], this.page.url());
  }
}

export { Device, call, eventually };
