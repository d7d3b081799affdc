import { expect, test } from "bun:test";
import { fuzz } from "../fuzz/answers.fuzz.ts";

test("two seconds of the fuzz target for answers", () => {
  expect(fuzz(2, 1, () => performance.now())).toBeGreaterThan(50);
});
