import { describe, expect, it } from "vitest";
import { estimateEqual, exactRemainder, oddCentTakers, sharesFromWire, splitBody } from "./split";

describe("the estimate of an equal split", () => {
  it("names what everybody owes at least and how many cents are left", () => {
    expect(estimateEqual(8400n, 3)).toEqual({ base: 2800n, odd: 0 });
    expect(estimateEqual(10000n, 3)).toEqual({ base: 3333n, odd: 1 });
    expect(estimateEqual(2n, 3)).toEqual({ base: 0n, odd: 2 });
  });

  it("always adds up to the amount", () => {
    for (let total = 1n; total < 200n; total += 7n) {
      for (let people = 1; people < 12; people += 1) {
        const estimate = estimateEqual(total, people);
        expect(estimate && estimate.base * BigInt(people) + BigInt(estimate.odd)).toBe(total);
        expect(estimate?.odd).toBeLessThan(people);
      }
    }
  });

  it("gives nothing for nobody or for less than nothing", () => {
    expect(estimateEqual(100n, 0)).toBeUndefined();
    expect(estimateEqual(-1n, 2)).toBeUndefined();
  });
});

describe("the ledger's shares", () => {
  it("are read whole or not at all", () => {
    expect(sharesFromWire([{ who: "@a:x", amount: "33.34" }], "EUR")).toEqual([{ who: "@a:x", minor: 3334n }]);
    expect(sharesFromWire([{ who: "@a:x", amount: "33.34" }, { who: "@b:x", amount: "33.3" }], "EUR")).toBeUndefined();
  });

  it("show who takes the odd cents", () => {
    const shares = [{ who: "a", minor: 3333n }, { who: "b", minor: 3334n }, { who: "c", minor: 3333n }];
    expect(oddCentTakers(shares)).toEqual(["b"]);
    expect(oddCentTakers(shares.filter((share) => share.who !== "b"))).toEqual([]);
    expect(oddCentTakers([])).toEqual([]);
  });
});

it("an exact split lacks, or has too much of, the difference", () => {
  expect(exactRemainder(1000n, [{ who: "a", minor: 300n }, { who: "b", minor: 500n }])).toBe(200n);
  expect(exactRemainder(1000n, [{ who: "a", minor: 1300n }])).toBe(-300n);
});

it("writes a split as the API takes it", () => {
  const shares = [{ who: "@a:x", minor: 2800n }];
  expect(splitBody("equal", shares, "EUR")).toEqual({ method: "equal", inputs: [{ who: "@a:x" }] });
  expect(splitBody("exact", shares, "EUR")).toEqual({ method: "exact", inputs: [{ who: "@a:x", value: "28.00" }] });
});
