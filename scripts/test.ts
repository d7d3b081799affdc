// `bun run test`: checks, Rust tests, TypeScript tests. Everything runs even when something fails; the last line sums it up.
// `--full` adds more seeds, ten kills and large shapes (tests read GRADUS_TEST_FULL).
import { join } from "node:path";
import { argumentsOf } from "./arguments.ts";
import { runChecks } from "./check.ts";
import { runCommand } from "./run-command.ts";
import { countBunTests, countCargoTests, type Tally } from "./tally.ts";

const root = join(import.meta.dir, "..");
const given = argumentsOf(
  "test",
  "usage: bun run test [--full]\nRuns every check and test; --full adds seeds, kills and large shapes. The last line is `N passed, N failed`.",
  ["--full"],
);
const env = { GRADUS_TEST_FULL: given.includes("--full") ? "1" : "" };

/** Runs one suite; a suite that failed without a failed test (a compile error, a crash) counts as one failure. */
async function suite(title: string, command: readonly string[], count: (output: string) => Tally): Promise<Tally> {
  console.log(`\n== ${title}`);
  const { exitCode, output } = await runCommand(command, { cwd: root, show: true, env });
  const tally = count(output);
  return exitCode !== 0 && tally.failed === 0 ? { ...tally, failed: 1 } : tally;
}

const began = performance.now();
console.log("== checks");
const tallies = [
  await runChecks(),
  await suite("rust tests", ["cargo", "test", "--release", "--workspace", "--quiet"], countCargoTests),
  await suite("typescript tests", [process.execPath, "test", "--timeout", "600000"], countBunTests),
];
const passed = tallies.reduce((sum, tally) => sum + tally.passed, 0);
const failed = tallies.reduce((sum, tally) => sum + tally.failed, 0);
console.log(`\ntook ${Math.round((performance.now() - began) / 1000)} s`);
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
