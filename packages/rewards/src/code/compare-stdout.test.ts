import { expect, test } from "bun:test";
import { stdoutDifference } from "./compare-stdout.ts";

test("a long word that begins with digits is compared in no time", () => {
  const printed = `${"01".repeat(2_000_000)}a`;
  for (const wanted of ["5", "1e3", "word", `${printed}b`])
    expect(stdoutDifference(printed, wanted)).toContain("line 1");
  expect(stdoutDifference(printed, printed)).toBeUndefined();
  // Digits of another script, each of four bytes.
  const digits = "\u{1d7d8}".repeat(1_000_000);
  expect(stdoutDifference(`${digits}1`, "1.0")).toBeUndefined();
  expect(stdoutDifference(`${digits}x`, "1.0")).toContain("line 1");
});

test("many words and many lines are compared in no time", () => {
  const words = "1.0 ".repeat(1_000_000);
  expect(stdoutDifference(words, "1 ".repeat(1_000_000))).toBeUndefined();
  expect(stdoutDifference(words, `${"1 ".repeat(999_999)}2`)).toContain("line 1");
  expect(stdoutDifference("x\n".repeat(2_000_000), "x")).toBe("2000000 lines, expected 1");
});
