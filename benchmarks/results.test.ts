// RESULTS.md is what the recorded runs say.
import { expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { recordedRuns, resultsPath, resultsText, runName } from "./results.ts";

test("RESULTS.md is up to date with benchmarks/runs", () => {
  expect(existsSync(resultsPath) ? readFileSync(resultsPath, "utf8") : "missing").toBe(resultsText(recordedRuns()));
});

test("a run's folder is named by date, device and commit", () => {
  const date = new Date("2026-03-04T05:06:07Z");
  expect(runName({ machine: "AMD EPYC (zen4), 2 cores", commit: "abc123" }, date)).toBe("2026-03-04-zen4-abc123");
  expect(runName({ machine: "Intel(R) Xeon(R), 8 cores", commit: "abc" }, date)).toBe("2026-03-04-intel-r-xeon-r--abc");
});
