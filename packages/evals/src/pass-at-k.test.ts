import { expect, test } from "bun:test";
import { passAtK } from "./pass-at-k.ts";

test("hand-computed: 1 − C(n − c, k) / C(n, k)", () => {
  expect(passAtK(4, 0, 4)).toBe(0);
  expect(passAtK(4, 1, 4)).toBe(1);
  expect(passAtK(4, 2, 1)).toBe(0.5);
  expect(passAtK(4, 2, 2)).toBeCloseTo(5 / 6, 15); // 1 − C(2, 2) / C(4, 2) = 1 − 1 / 6
  expect(passAtK(8, 3, 4)).toBeCloseTo(13 / 14, 15); // 1 − C(5, 4) / C(8, 4) = 1 − 5 / 70
});

test("every n, c, k up to 12 against exact binomials", () => {
  const choose = (n: number, k: number): bigint =>
    k > n ? 0n : k === 0 ? 1n : (choose(n - 1, k - 1) * BigInt(n)) / BigInt(k);
  for (let n = 1; n <= 12; n++) {
    for (let correct = 0; correct <= n; correct++) {
      for (let k = 1; k <= n; k++) {
        const exact = 1 - Number(choose(n - correct, k)) / Number(choose(n, k));
        expect(passAtK(n, correct, k)).toBeCloseTo(exact, 12);
      }
    }
  }
});

test("more than n responses cannot be asked for", () => {
  expect(() => passAtK(4, 2, 5)).toThrow("pass@5 needs 1 to 4 of 4 responses");
});
