// Takes a picture of every screen, light and dark, on a phone and on a desk, against a seeded mock server.
//   node mock/shots.mjs [folder] [url] [only]
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { launch } from "./browser.mjs";

const [folder = "/tmp/shots", url = "http://127.0.0.1:8449/", only = ""] = process.argv.slice(2);
const SIZES = { phone: { width: 390, height: 844 }, desk: { width: 1280, height: 800 } };
await mkdir(folder, { recursive: true });
const browser = await launch();
const problems = [];

async function signedIn(size, theme, language) {
  const context = await browser.newContext({ viewport: SIZES[size], colorScheme: theme, locale: language, deviceScaleFactor: size === "phone" ? 2 : 1, hasTouch: size === "phone", reducedMotion: "reduce" });
  const page = await context.newPage();
  page.on("console", (message) => message.type() === "error" && problems.push(message.text()));
  page.on("pageerror", (error) => problems.push(String(error)));
  return page;
}

async function login(page, user = "ann") {
  await page.goto(`${url}#/login`);
  await page.fill("[name=username]", user);
  await page.fill("[name=password]", "correct horse");
  await page.click("button[type=submit]");
  await page.waitForSelector("text=/Lisbon in May/");
}

for (const size of Object.keys(SIZES)) {
  for (const theme of ["light", "dark"]) {
    const language = size === "desk" && theme === "dark" ? "de-DE" : "en-GB";
    const page = await signedIn(size, theme, language);
    const shot = async (name, step) => {
      if (step) await step();
      await page.waitForTimeout(350);
      if (name.includes(only)) await page.screenshot({ path: join(folder, `${name}-${size}-${theme}.png`) });
      const wide = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
      if (wide) problems.push(`${name}-${size}: wider than the screen`);
    };
    await page.goto(`${url}#/signup`);
    await shot("01-signup");
    await login(page);
    await shot("02-home");
    const group = await page.locator("main a:has-text('Lisbon in May')").getAttribute("href");
    const to = (rest) => () => page.goto(`${url}${group.replace(/\/chat$/, "")}/${rest}`);
    await shot("03-chat", to("chat"));
    await shot("04-balances", to("balances"));
    await shot("05-entries", to("entries"));
    await shot("06-people", to("people"));
    await shot("07-add", async () => {
      await to("chat/add")();
      await page.fill("[name=amount]", "100");
      await page.fill("[name=title]", "Taxi");
      await page.waitForTimeout(600);
    });
    await shot("08-add-odd", async () => {
      await page.fill("[name=amount]", "100.03");
      await page.click("[aria-expanded]");
      await page.waitForTimeout(600);
    });
    await shot("09-add-exact", async () => {
      await page.locator("[role=dialog] [role=radio]").nth(1).click();
      await page.locator("[role=dialog] ul input").first().fill("20");
      await page.locator("[role=dialog] button[type=submit]").click();
    });
    await shot("10-settle", to("balances/settle"));
    await shot("11-settle-record", async () => {
      await page.locator("[role=dialog] section button").first().click();
    });
    await to("entries")();
    await shot("12-entry", () => page.locator("li a[href*=entries]:has-text('612')").click());
    await shot("13-entry-void", async () => {
      await page.locator("[role=dialog] button:has(svg.lucide-undo2), [role=dialog] button:has(svg.lucide-undo-2)").click();
      await page.locator("[role=dialog] section").last().scrollIntoViewIfNeeded();
    });
    await to("entries")();
    await shot("14-entry-pending", () => page.locator("li a[href*=entries]:has-text('60.00'), li a[href*=entries]:has-text('60,00')").first().click());
    await shot("18-new-group", async () => {
      await page.goto(`${url}#/new`);
      await page.fill("[name=name]", "Garden party");
      await page.fill("[name=person]", "ben");
      await page.click("main button[type=submit]");
      await page.waitForURL(/#\/group\//);
    });
    await shot("15-new", () => page.goto(`${url}#/new`));
    await shot("16-settings", () => page.goto(`${url}#/settings`));
    await shot("17-offline", async () => {
      await page.goto(`${url}${group}`);
      await page.waitForTimeout(300);
      await page.context().setOffline(true);
      await page.fill("textarea", "Are you there?");
      await page.keyboard.press("Enter");
      await page.evaluate(() => window.dispatchEvent(new Event("offline")));
      await page.waitForTimeout(1500);
    });
    await page.context().close();
  }
}
await browser.close();
for (const problem of new Set(problems)) console.log("PROBLEM", problem);
