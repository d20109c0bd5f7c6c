// The web app that the server brings: people log in through the provider there too.

import assert from "node:assert/strict";
import { REFUSED, userId } from "./site.mjs";

const WITH_PROVIDER = "Continue with Example accounts";
const HOME = "Where you stand";

async function opens(visitor, address = "/") {
  await visitor.page.goto(`${visitor.world.url}${address}`);
}

async function goes(visitor) {
  await visitor.page.getByRole("button", { name: WITH_PROVIDER }).click();
}

/** Waits until somebody is in; nothing of how they came stands in the address. */
async function isIn(visitor) {
  await visitor.page.getByRole("heading", { level: 1, name: HOME }).waitFor();
  assert.equal(new URL(visitor.page.url()).search, "");
}

/** Somebody with an account, and a newcomer, who names the account on the way; a reload finds them logged in. */
export async function in_the_web_app({ world }) {
  for (const username of ["ann", "hanna"]) {
    const visitor = await world.visitor({ scripts: true });
    await opens(visitor);
    if (username === "hanna") await visitor.picture("19-web-app");
    await goes(visitor);
    await visitor.signIn(username);
    if (username === "hanna") {
      await visitor.shows("Welcome", { words: ["hanna@example.org"] });
      await visitor.name("hanna");
    }
    await isIn(visitor);
    await visitor.picture(`20-web-app-${username}`);
    await visitor.page.reload();
    await isIn(visitor);
    await visitor.page.goto(`${world.url}/#/settings`);
    await visitor.page.getByText(userId(username)).first().waitFor();
    assert.equal(visitor.broken, undefined);
    await visitor.page.getByRole("button", { name: "Log out" }).click();
    await visitor.page.getByRole("button", { name: WITH_PROVIDER }).waitFor();
    await visitor.close();
  }
}

/** Whoever turns back at the provider, or is sent a link with somebody else's token, is not logged in, and can try again. */
export async function turned_back_from_the_web_app({ world }) {
  const visitor = await world.visitor({ scripts: true });
  await opens(visitor);
  await goes(visitor);
  await visitor.page.click("button[value=cancel]");
  await visitor.shows(REFUSED, { status: 403 });
  // A token of Ben's, in a link that he sends around.
  const bens = await world.visitor();
  await bens.logIn("ben");
  const token = await bens.arrives();
  await opens(visitor, `/?login=mine&loginToken=${token}`);
  await visitor.page.getByText("was not completed here").waitFor();
  assert.equal(new URL(visitor.page.url()).search, "");
  const unused = await world.client({ type: "m.login.token", token });
  await unused.client.logout(true);
  await goes(visitor);
  await visitor.signIn("ann");
  await isIn(visitor);
  await Promise.all([visitor.close(), bens.close()]);
}
