// `bun run test`: checks, kernels, Rust tests, TypeScript tests. Everything runs even when something fails;
// the last lines name what failed and sum it up.
// `--full` adds more seeds, ten kills and large shapes (tests read GRADUS_TEST_FULL).
import { join } from "node:path";
import { argumentsOf } from "./arguments.ts";
import { runChecks } from "./check.ts";
import { buildSimulator } from "./kernel-compile.ts";
import { compileForGpus } from "./kernels.ts";
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
  if (exitCode === 0 || tally.failed > 0) return tally;
  return { ...tally, failed: 1, failures: [`${title} ended with exit code ${exitCode} and no failed test`] };
}

/** One step of the kernels' build: what it finds wrong, nothing where all is well, undefined where it cannot be done here. */
async function step(name: string, run: () => Promise<readonly string[] | undefined>): Promise<Tally> {
  const began = performance.now();
  const findings = await run().catch((error: unknown) => [error instanceof Error ? error.message : String(error)]);
  const outcome = findings === undefined ? "none" : findings.length === 0 ? "ok  " : "FAIL";
  console.log(`${outcome} ${name} (${((performance.now() - began) / 1000).toFixed(1)} s)`);
  for (const finding of findings ?? []) console.log(finding.replace(/^/gm, "     "));
  const failures = findings !== undefined && findings.length > 0 ? [name] : [];
  return { passed: findings?.length === 0 ? 1 : 0, failed: failures.length, failures };
}

/** The kernels for the simulator, which the tests below load, and for GPUs: CI fetches nvcc, elsewhere it may be missing. */
async function kernels(): Promise<Tally[]> {
  console.log("\n== kernels");
  const simulator = async () => {
    await buildSimulator(root);
    return [];
  };
  const fetch = (process.env.CI ?? "") !== "";
  return [
    await step("kernels for the simulator", simulator),
    await step("kernels for GPUs, within their budgets (none where nvcc is missing)", () => compileForGpus({ fetch })),
  ];
}

const began = performance.now();
console.log("== checks");
const tallies = [
  await runChecks(),
  ...(await kernels()),
  await suite("rust tests", ["cargo", "test", "--release", "--workspace", "--quiet"], countCargoTests),
  await suite("typescript tests", [process.execPath, "test", "--dots", "--timeout", "600000"], countBunTests),
];
const passed = tallies.reduce((sum, tally) => sum + tally.passed, 0);
const failed = tallies.reduce((sum, tally) => sum + tally.failed, 0);
for (const { failures } of tallies) for (const name of failures) console.log(`failed: ${name}`);
console.log(`\ntook ${Math.round((performance.now() - began) / 1000)} s`);
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
