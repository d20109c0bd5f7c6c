import { describe, expect, it } from "vitest";
import de from "./de.json";
import en from "./en.json";
import { detectLanguage, localeFor, translate } from "./index";

const placeholders = (text: string) => [...text.matchAll(/\{(\w+)\}/g)].map((match) => match[1]).sort();

describe("the languages", () => {
  it("have the same messages", () => {
    expect(Object.keys(de).sort()).toEqual(Object.keys(en).sort());
  });

  it.each(Object.keys(en))("%s has the same placeholders", (key) => {
    expect(placeholders(de[key as keyof typeof de])).toEqual(placeholders(en[key as keyof typeof en]));
  });

  it("have both forms of every plural", () => {
    const keys = new Set(Object.keys(en));
    for (const key of keys) {
      if (key.endsWith("_one")) expect(keys).toContain(key.replace(/_one$/, "_other"));
      if (key.endsWith("_other")) expect(keys).toContain(key.replace(/_other$/, "_one"));
    }
  });
});

it("fills in and counts", () => {
  expect(translate("en", "home.invited_by", { name: "Ben" })).toBe("Ben invites you");
  expect(translate("en", "group.people", { count: 1 })).toBe("1 person");
  expect(translate("de", "group.people", { count: 3 })).toBe("3 Personen");
  expect(translate("en", "home.invited_by")).toBe("{name} invites you");
});

it("finds the reader's language and region", () => {
  expect(detectLanguage(["fr-FR", "de-AT", "en"])).toBe("de");
  expect(detectLanguage(["fr"])).toBe("en");
  expect(localeFor("en", ["de-DE", "en-GB"])).toBe("en-GB");
  expect(localeFor("de", ["en-GB"])).toBe("de");
});
