// `bun scripts/kernels.ts`: the kernels for GPUs (nvcc, into the pack that the engine embeds) and, with --sim, for the simulator (g++).
// `bun run test` runs both parts; CI fetches nvcc, and there a missing one is a failure.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { argumentsOf } from "./arguments.ts";
import { type Budgets, overBudget, parseBudgets, type Usage, usageOf } from "./kernel-budgets.ts";
import { buildPack, buildSimulator, type CompilerReport, packPath, simulatorPath } from "./kernel-compile.ts";
import { fetchedNvcc, fetchNvcc, installedNvcc, nvccAt } from "./nvcc.ts";

const root = join(import.meta.dir, "..");
const budgetsPath = join(root, "kernels", "budgets.json");

/**
 * Compiles the kernels for GPUs with an nvcc that is there, or, with `fetch`, with a fetched one. Gives what is wrong, nothing where all is
 * well, and undefined where there is no nvcc.
 */
export async function compileForGpus({
  fetch,
  record = false,
}: {
  fetch: boolean;
  record?: boolean;
}): Promise<readonly string[] | undefined> {
  const nvcc =
    (await installedNvcc(process.env)) ??
    (await nvccAt(fetchedNvcc(root))) ??
    (fetch ? await fetchNvcc(root) : undefined);
  if (nvcc === undefined) return undefined;
  const reports = await buildPack(root, nvcc);
  if (record) writeFileSync(budgetsPath, budgetsText(reports));
  const budgets = existsSync(budgetsPath) ? parseBudgets(readFileSync(budgetsPath, "utf8")) : {};
  return reports.flatMap(({ name, arch, output }) => [
    ...overBudget(arch, usageOf(output), budgets),
    // ptxas waits after every wgmma where it cannot see that it need not.
    ...[...output.matchAll(/Potential Performance Loss.*/g)].map(([line]) => `${name} for ${arch}: ${line}`),
  ]);
}

/** kernels/budgets.json for what the compiler reported, kernels by name. */
function budgetsText(reports: readonly CompilerReport[]): string {
  const budgets: Budgets = {};
  for (const { arch, output } of reports) {
    const used: [string, Usage][] = [...usageOf(output)];
    if (used.length > 0) budgets[arch] = { ...budgets[arch], ...Object.fromEntries(used) };
  }
  const lines = Object.entries(budgets).map(([arch, kernels]) => {
    const sorted = Object.entries(kernels).sort(([a], [b]) => (a < b ? -1 : 1));
    const rows = sorted.map(
      ([kernel, { registers, spillBytes }]) =>
        `    "${kernel}": { "registers": ${registers}, "spillBytes": ${spillBytes} }`,
    );
    return `  "${arch}": {\n${rows.join(",\n")}\n  }`;
  });
  return `{\n${lines.join(",\n")}\n}\n`;
}

async function main(): Promise<number> {
  const usage = [
    "usage: bun scripts/kernels.ts [--sim] [--fetch] [--record]",
    "Compiles kernels/ for GPUs into build/kernel-pack. --sim: for the simulator instead, with g++.",
    "--fetch: fetches nvcc into build/cuda where there is none. --record: writes kernels/budgets.json anew.",
  ].join("\n");
  const given = argumentsOf("kernels", usage, ["--sim", "--fetch", "--record"]);
  const began = performance.now();
  const took = () => `${((performance.now() - began) / 1000).toFixed(1)} s`;
  if (given.includes("--sim")) {
    const made = await buildSimulator(root);
    console.log(`${simulatorPath(root)} ${made ? `built in ${took()}` : "is up to date"}`);
    return 0;
  }
  const findings = await compileForGpus({ fetch: given.includes("--fetch"), record: given.includes("--record") });
  if (findings === undefined) {
    console.error("there is no nvcc of CUDA 13 on PATH, in CUDA_HOME or in build/cuda; install one, or add --fetch");
    return 1;
  }
  for (const finding of findings) console.error(finding);
  console.log(`${packPath(root)} made in ${took()}, ${findings.length} findings`);
  return findings.length === 0 ? 0 : 1;
}

if (import.meta.main) {
  try {
    process.exit(await main());
  } catch (error) {
    console.error(error instanceof Error ? error.message : String(error));
    process.exit(1);
  }
}
