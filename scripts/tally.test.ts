// The closing lines of `bun run test` are only as good as these two readers.
import { expect, test } from "bun:test";
import { countBunTests, countCargoTests } from "./tally.ts";

test("cargo's result lines are summed over the test binaries, and failures named", () => {
  const output =
    "running 3 tests\n...\ntest result: ok. 3 passed; 0 failed; 0 ignored; finished in 0.1s\n\n" +
    "---- ops::sums stdout ----\nthread panicked\n\n---- ops::rows stdout ----\nError\n\n" +
    "failures:\n    ops::sums\n    ops::rows\n\n" +
    "test result: FAILED. 1 passed; 2 failed; 0 ignored; finished in 0.1s\n";
  expect(countCargoTests(output)).toEqual({ passed: 4, failed: 2, failures: ["ops::sums", "ops::rows"] });
  expect(countCargoTests("error: could not compile")).toEqual({ passed: 0, failed: 0, failures: [] });
});

test("bun's closing lines are read, errors outside tests included", () => {
  const failed =
    "..\n\na.test.ts:\nerror: expected 2\n(fail) group > a [0.47ms]\n.\n\n12 pass\n1 fail\n30 expect() calls\n";
  expect(countBunTests(failed)).toEqual({ passed: 12, failed: 1, failures: ["group > a [0.47ms]"] });
  const broken =
    "b.test.ts:\n\n# Unhandled error between tests\n-----\n1 | throw\n    ^\nerror: outside\n-----\n\n 2 pass\n 0 fail\n 1 error\n";
  expect(countBunTests(broken)).toEqual({ passed: 2, failed: 1, failures: ["error: outside"] });
});
