// Every way to log in through an OpenID Connect provider, in a browser, through to a client that has synced; and every fault of the
// provider, which is refused with a page that says so, and of which nothing is left.
//
//   node tests/browser/logins/logins.mjs URL --provider JSON [--out FOLDER]
//
// URL is a CliquePay server that was configured for the provider (provider.mjs; JSON is what that prints). It must not know anybody
// yet. Prints a line for every step that held, and ends with status 1 at the first that does not. FOLDER gets pictures.

import assert from "node:assert/strict";
import { parseArgs } from "node:util";
import { PASSWORD, complain, fresh, play, register } from "../../stock/js-sdk/party.mjs";
import { cancelled_at_the_provider, every_fault_is_refused, every_fault_of_an_id_token_is_refused, in_another_browser, not_in_a_frame, used_twice } from "./refusals.mjs";
import { in_the_web_app, turned_back_from_the_web_app } from "./web_app.mjs";
import { REFUSED, World, call, eventually, userId } from "./site.mjs";

const STEPS = [
  first_login_in_english,
  first_login_in_german,
  logged_in_before,
  in_the_web_app,
  turned_back_from_the_web_app,
  with_a_password,
  one_who_will_be_disabled,
  names_that_are_not_possible,
  the_same_address_is_not_the_same_person,
  names_are_suggested,
  a_place_that_nobody_named,
  an_app_of_its_own,
  with_an_id_token,
  every_fault_is_refused,
  every_fault_of_an_id_token_is_refused,
  cancelled_at_the_provider,
  in_another_browser,
  used_twice,
  confirm_by_logging_in_again,
  not_in_a_frame,
  for_everybody,
  out_of_the_provider_as_well,
  a_key_that_was_rotated,
  disabled_at_the_provider,
];

const ENGLISH = ["You are logged in with Example accounts", "Choose the name"];
const GERMAN = ["Du bist mit Example accounts angemeldet", "Wähle den Namen"];

/** Ann has no account yet: she names it, and her client syncs. */
async function first_login_in_english(state) {
  const visitor = await state.world.visitor();
  await visitor.logIn("ann");
  await visitor.shows("Welcome", { words: [...ENGLISH, "ann@example.org", ":cliquepay.test"] });
  assert.equal(await visitor.page.inputValue("[name=localpart]"), "ann");
  await visitor.picture("01-welcome-en");
  assert.ok(await state.world.isFree("ann"), "the account is there before it was named");
  await visitor.name("Ann");
  const token = await visitor.arrives();
  state.ann = await state.world.client({ type: "m.login.token", token });
  assert.equal(state.ann.userId, userId("ann"));
  const profile = await call(state.world.url, "GET", `/_matrix/client/v3/profile/${encodeURIComponent(userId("ann"))}/displayname`);
  assert.equal(profile.body.displayname, "Ann Example");
  const again = await call(state.world.url, "POST", "/_matrix/client/v3/login", { body: { type: "m.login.token", token } });
  assert.deepEqual([again.status, again.body.errcode], [403, "M_FORBIDDEN"]);
  await visitor.close();
}

async function first_login_in_german(state) {
  const visitor = await state.world.visitor({ language: "de-AT", colorScheme: "dark" });
  await visitor.logIn("ben");
  await visitor.shows("Willkommen", { words: [...GERMAN, "ben@example.org"] });
  await visitor.picture("02-welcome-de");
  await visitor.name("ben");
  state.ben = await state.world.client({ type: "m.login.token", token: await visitor.arrives() });
  assert.equal(state.ben.userId, userId("ben"));
  const profile = await call(state.world.url, "GET", `/_matrix/client/v3/profile/${encodeURIComponent(userId("ben"))}/displayname`);
  assert.equal(profile.body.displayname, "Ben <b>Example</b>");
  await visitor.close();
}

/** With an account there is no page for newcomers any more, and none at all while the provider knows the browser. */
async function logged_in_before({ world, ann }) {
  const visitor = await world.visitor();
  await visitor.leaveForOwnPage();
  await visitor.page.getByRole("link", { name: "Log in with Example accounts" }).click();
  await visitor.signIn("ann");
  const first = await world.client({ type: "m.login.token", token: await visitor.arrives() });
  assert.equal(first.userId, ann.userId);
  assert.notEqual(first.deviceId, ann.deviceId);
  await visitor.leave();
  const second = await world.client({ type: "m.login.token", token: await visitor.arrives() });
  assert.equal(second.userId, ann.userId);
  for (const device of [first, second]) await device.client.logout(true);
  await visitor.close();
}

/** On the server's own page a password will do. */
async function with_a_password({ world }) {
  const name = await register(world.url, fresh("paula"));
  const visitor = await world.visitor();
  await visitor.leaveForOwnPage();
  await visitor.fillIn(name, "not the password");
  await visitor.page.getByRole("alert").waitFor();
  assert.equal(visitor.answer.status(), 403);
  await visitor.fillIn(name, PASSWORD);
  const client = await world.client({ type: "m.login.token", token: await visitor.arrives() });
  assert.equal(client.userId, name);
  await visitor.close();
}

/** Fred logs in, and is disabled at the provider at once. The last step looks what became of him. */
async function one_who_will_be_disabled(state) {
  const visitor = await state.world.visitor();
  await visitor.logIn("fred");
  await visitor.name("fred");
  state.fred = await state.world.client({ type: "m.login.token", token: await visitor.arrives() });
  await state.world.tell({ disable: "fred" });
  await visitor.close();
}

async function names_that_are_not_possible({ world }) {
  const visitor = await world.visitor();
  await visitor.logIn("carla");
  for (const [name, words, picture] of [
    ["ben", "This name is taken", "03-name-taken"],
    ["admin", "This name is reserved", "04-name-reserved"],
    ["carlá", "This name is not possible", "05-name-invalid"],
    ["carla:evil", "This name is not possible"],
    ["<script>", "This name is not possible"],
  ]) {
    await visitor.name(name);
    await visitor.shows("Welcome", { status: 400, words: [words] });
    // What was written is still there, in small letters.
    assert.equal(await visitor.page.inputValue("[name=localpart]"), name);
    assert.equal(await visitor.page.getAttribute("[name=localpart]", "aria-invalid"), "true");
    if (picture) await visitor.picture(picture);
  }
  await visitor.close();
  assert.ok(await world.isFree("carla"));
  const german = await world.visitor({ language: "de-DE" });
  await german.logIn("carla");
  await german.name("BEN");
  await german.shows("Willkommen", { status: 400, words: ["Dieser Name ist vergeben"] });
  await german.close();
}

/** Eve has Ann's address and name at the provider, and is somebody else. */
async function the_same_address_is_not_the_same_person({ world, ann }) {
  const visitor = await world.visitor();
  await visitor.logIn("eve");
  await visitor.shows("Welcome", { words: ["ann@example.org"] });
  await visitor.name("ann");
  await visitor.shows("Welcome", { status: 400, words: ["This name is taken"] });
  await visitor.name("eve");
  const eve = await world.client({ type: "m.login.token", token: await visitor.arrives() });
  assert.equal(eve.userId, userId("eve"));
  assert.notEqual(eve.userId, ann.userId);
  await visitor.close();
}

async function names_are_suggested({ world }) {
  for (const [username, suggestion] of [["google_123", "google_123"], ["22222222-aaaa-4bbb-8ccc-000000000006", "emil"]]) {
    const visitor = await world.visitor();
    await visitor.logIn(username);
    await visitor.shows("Welcome");
    assert.equal(await visitor.page.inputValue("[name=localpart]"), suggestion);
    await visitor.close();
  }
}

/** A place that the operator did not name gets a token only after a question that names it. */
async function a_place_that_nobody_named({ world, ann }) {
  const place = `${world.provider.app}/elsewhere`;
  const visitor = await world.visitor({ viewport: { width: 1280, height: 800 } });
  await visitor.logIn("ann", place);
  const host = new URL(place).host;
  const text = await visitor.shows("Go on?", { words: [userId("ann"), "This site gets access to your account", host] });
  assert.ok(!text.includes("elsewhere"), "only the host is what counts");
  await visitor.picture("06-go-on-en");
  await visitor.page.click("button[type=submit]");
  const client = await world.client({ type: "m.login.token", token: await visitor.arrives(place) });
  assert.equal(client.userId, ann.userId);
  await client.client.logout(true);
  const german = await world.visitor({ language: "de", colorScheme: "dark" });
  await german.logIn("ann", place);
  await german.shows("Weiter?", { words: ["Diese Seite bekommt Zugriff auf dein Konto", host] });
  await german.picture("07-go-on-de");
  await Promise.all([visitor.close(), german.close()]);
  const bad = await world.visitor();
  for (const place of ["javascript:alert(1)", "data:text/html,x", "//evil.example/", `${world.trusted}\\@evil.example`, ""]) {
    await bad.leave(place);
    await bad.shows(REFUSED, { status: 400, words: ["The app did not say properly where to go"] });
  }
  await bad.picture("08-bad-place");
  await bad.close();
}

/** An app on a phone takes the token by an address of its own kind. */
async function an_app_of_its_own({ world, ann }) {
  const visitor = await world.visitor();
  await visitor.logIn("ann", "io.example.app:/callback");
  await visitor.shows("Go on?", { words: ["The app that opens addresses of this kind", "io.example.app:"] });
  await visitor.picture("09-go-on-app");
  await visitor.page.click("button[type=submit]");
  await visitor.shows("You are logged in", { words: [userId("ann")] });
  await visitor.picture("10-done");
  const link = await visitor.page.getAttribute("a.go", "href");
  assert.ok(link.startsWith("io.example.app:/callback?loginToken="), link);
  const client = await world.client({ type: "m.login.token", token: new URL(link).searchParams.get("loginToken") });
  assert.equal(client.userId, ann.userId);
  await client.client.logout(true);
  await visitor.close();
}

/** A client that has an ID token of its own needs no browser, once there is an account. */
async function with_an_id_token({ world }) {
  const { body } = await call(world.url, "GET", "/_matrix/client/v3/login");
  assert.ok(body.flows.some(({ type }) => type === "org.matrix.login.jwt"), JSON.stringify(body));
  const { id_token: token } = await world.tell({ mint: "ben" });
  const client = await world.client({ type: "org.matrix.login.jwt", token });
  assert.equal(client.userId, userId("ben"));
  await client.client.logout(true);
  const { id_token: stranger } = await world.tell({ mint: "carla" });
  const refused = await call(world.url, "POST", "/_matrix/client/v3/login", { body: { type: "org.matrix.login.jwt", token: stranger } });
  assert.deepEqual([refused.status, refused.body.errcode], [403, "M_FORBIDDEN"]);
  assert.ok(await world.isFree("carla"));
}

/** Ben has no password: another identity in place of his first is confirmed at the provider, by himself and nobody else. */
async function confirm_by_logging_in_again({ world, ben }) {
  await ben.crypto.bootstrapCrossSigning({ authUploadDeviceSigningKeys: (makeRequest) => makeRequest(null) });
  const first = await ben.crypto.getCrossSigningKeyId();
  await ben.crypto.bootstrapCrossSigning({
    setupNewCrossSigning: true,
    authUploadDeviceSigningKeys: async (makeRequest) => {
      const { session, flows } = await challenge(makeRequest, null);
      assert.ok(flows.some(({ stages }) => stages.length === 1 && stages[0] === "m.login.sso"), JSON.stringify(flows));
      const page = `${world.url}/_matrix/client/v3/auth/m.login.sso/fallback/web?session=${encodeURIComponent(session)}`;
      await challenge(makeRequest, { session });
      for (const [username, heading, status] of [["ann", REFUSED, 403], ["ben", "Confirmed", 200]]) {
        const visitor = await world.visitor();
        await visitor.page.goto(page);
        await visitor.shows("Is that you?", { words: [ben.userId] });
        await visitor.picture("17-is-that-you");
        await visitor.page.click("a.go");
        await visitor.signIn(username);
        await visitor.shows(heading, { status });
        await visitor.picture(`18-confirmed-by-${username}`);
        await visitor.close();
        if (username !== "ben") await challenge(makeRequest, { session });
      }
      return makeRequest({ session });
    },
  });
  assert.notEqual(await ben.crypto.getCrossSigningKeyId(), first);
}

/** What a request that is not confirmed yet is answered. */
async function challenge(makeRequest, auth) {
  const error = await makeRequest(auth).then(
    () => assert.fail("it was not asked for"),
    (error) => error,
  );
  assert.equal(error.httpStatus, 401, String(error));
  return error.data;
}

/** Every page, looked at by axe, in both languages and colours. */
async function for_everybody({ world }) {
  for (const [language, colorScheme] of [["en", "light"], ["de", "dark"]]) {
    const visitor = await world.visitor({ language, colorScheme, scripts: true });
    await visitor.logIn("carla");
    await visitor.isAccessible();
    assert.equal(await visitor.page.getAttribute("html", "lang"), language);
    await visitor.name("ben");
    await visitor.page.getByRole("alert").waitFor();
    await visitor.isAccessible();
    await visitor.page.goto(`${world.url}/_cliquepay/login/logout/cognito`);
    await visitor.isAccessible();
    await visitor.page.goto(`${world.url}/_cliquepay/login/out`);
    await visitor.isAccessible();
    await visitor.leave("javascript:alert(1)");
    await visitor.isAccessible();
    await visitor.context.clearCookies();
    await visitor.logIn("ann", "io.example.app:/callback");
    await visitor.isAccessible();
    await visitor.page.click("button[type=submit]");
    await visitor.page.locator("a.go").waitFor();
    await visitor.isAccessible();
    await visitor.close();
  }
}

/** Logging out of the last device gives the refresh token back; the page leads out of the provider the way Cognito wants it. */
async function out_of_the_provider_as_well({ world }) {
  const visitor = await world.visitor();
  await visitor.logIn("gina");
  await visitor.name("gina");
  const client = await world.client({ type: "m.login.token", token: await visitor.arrives() });
  const revoked = await world.asked("/oauth2/revoke");
  await client.client.logout(true);
  await eventually("the refresh token given back", async () => (await world.asked("/oauth2/revoke")) === revoked + 1);
  await visitor.page.goto(`${world.url}/_cliquepay/login/logout/cognito`);
  await visitor.shows("Log out", { words: ["may still be logged in at Example accounts"] });
  await visitor.picture("15-log-out");
  await visitor.page.click("a.go");
  await visitor.shows("You are logged out");
  await visitor.picture("16-logged-out");
  assert.ok(visitor.page.url().startsWith(`${world.url}/_cliquepay/login/out`), visitor.page.url());
  // Now the provider asks for the password again.
  await visitor.leave();
  await visitor.signIn("gina");
  await visitor.arrives();
  await visitor.close();
}

/** The provider changes its key. The new one is looked for, at most once a minute; the old one is not believed any more. */
async function a_key_that_was_rotated({ world }) {
  const { id_token: old } = await world.tell({ mint: "ben" });
  await world.tell({ rotate: true });
  await eventually(
    "a log-in with the new key",
    async () => {
      const visitor = await world.visitor();
      try {
        await visitor.logIn("ben");
        await visitor.page.waitForURL((url) => url.href.startsWith(world.trusted) || url.href.startsWith(world.url));
        return visitor.page.url().startsWith(world.trusted);
      } finally {
        await visitor.close();
      }
    },
    120_000,
  );
  const answer = await call(world.url, "POST", "/_matrix/client/v3/login", { body: { type: "org.matrix.login.jwt", token: old } });
  assert.deepEqual([answer.status, answer.body.errcode], [403, "M_FORBIDDEN"]);
}

/** Fred is out, from all devices, and cannot come back until he is enabled again. Nobody else is touched. */
async function disabled_at_the_provider({ world, fred, ann, ben }) {
  const whoami = (device) => call(world.url, "GET", "/_matrix/client/v3/account/whoami", { token: device.session.accessToken });
  const answer = await eventually("Fred's end", async () => {
    const answer = await whoami(fred);
    return answer.status === 401 ? answer : undefined;
  }, 120_000);
  assert.equal(answer.body.errcode, "M_UNKNOWN_TOKEN");
  for (const device of [ann, ben]) assert.equal((await whoami(device)).status, 200);
  const { id_token: token } = await world.tell({ mint: "fred" });
  const visitor = await world.visitor();
  await visitor.logIn("fred");
  await visitor.page.getByText("User is disabled.").waitFor();
  await world.tell({ enable: "fred" });
  await visitor.signIn("fred");
  const again = await world.client({ type: "m.login.token", token: await visitor.arrives() });
  assert.equal(again.userId, userId("fred"));
  assert.ok(token);
  await visitor.close();
}

const { values, positionals } = parseArgs({ allowPositionals: true, options: { out: { type: "string" }, provider: { type: "string" } } });
const [url] = positionals;
if (!url || !values.provider) {
  complain("usage: logins.mjs URL --provider JSON [--out FOLDER]");
  process.exit(2);
}
const world = await new World(url.replace(/\/$/, ""), JSON.parse(values.provider), values.out).begin();
await play(STEPS, { world });
