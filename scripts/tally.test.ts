// The closing line of `bun run test` is only as good as these two readers.
import { expect, test } from "bun:test";
import { countBunTests, countCargoTests } from "./tally.ts";

test("cargo's result lines are summed over the test binaries", () => {
  const output =
    "running 3 tests\n...\ntest result: ok. 3 passed; 0 failed; 0 ignored; finished in 0.1s\n\n" +
    "test result: FAILED. 1 passed; 2 failed; 0 ignored; finished in 0.1s\n";
  expect(countCargoTests(output)).toEqual({ passed: 4, failed: 2 });
  expect(countCargoTests("error: could not compile")).toEqual({ passed: 0, failed: 0 });
});

test("bun's closing lines are read, errors outside tests included", () => {
  expect(countBunTests("(pass) a\n\n 12 pass\n 1 fail\n 30 expect() calls\n")).toEqual({ passed: 12, failed: 1 });
  expect(countBunTests(" 2 pass\n 0 fail\n 1 error\n")).toEqual({ passed: 2, failed: 1 });
});
