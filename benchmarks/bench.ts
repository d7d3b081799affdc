// `bun run bench cpu [--only PATTERN] [--json] [--repeats N] [--record]`: the engine against its peers and the machine's limits,
// by turns in one run. `bun run bench --setup-peers` installs the peers. The last line is one JSON object (rows.ts).
import { readFileSync } from "node:fs";
import { cpus, loadavg } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { runCommand } from "../scripts/run-command.ts";
import { Child } from "./child.ts";
import type { Peaks } from "./limits.ts";
import { recordRun } from "./results.ts";
import { machineKind, median, type Result, type Row, result } from "./rows.ts";
import { type Machine, measureContest, measurePeaks } from "./run-suite.ts";
import { setupPeers } from "./setup-peers.ts";
import { cpuContests } from "./suites/cpu.ts";
import { cells, headings, tableLine } from "./table.ts";

const root = join(import.meta.dir, "..");
const usage = `usage: bun run bench cpu [--only PATTERN] [--json] [--repeats N] [--record]
       bun run bench --setup-peers
--only     rows whose name matches a regular expression
--json     no table, only the last line
--repeats  repeats of each side, by turns; 5, fewer are for trying out
--record   keeps the run under benchmarks/runs and renews benchmarks/RESULTS.md
The last line is one JSON object. Without the peers there are our figures alone; --setup-peers installs them (8 GB).`;

function refuse(line: string): never {
  console.error(`bench: ${line}`);
  process.exit(2);
}

/** The command line, checked. */
function readFlags() {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: {
        only: { type: "string", default: "" },
        json: { type: "boolean", default: false },
        repeats: { type: "string", default: "5" },
        record: { type: "boolean", default: false },
        "setup-peers": { type: "boolean", default: false },
        help: { type: "boolean", default: false },
      },
    });
    const repeats = Number(values.repeats);
    if (!Number.isInteger(repeats) || repeats < 1)
      refuse(`--repeats ${values.repeats} is not a whole number of at least 1`);
    if (values.record && repeats < 5) refuse("--record keeps medians of at least 5 repeats; leave --repeats out");
    const [suite = "cpu", ...others] = positionals;
    if (suite !== "cpu" || others.length > 0)
      refuse(`there is no suite ${positionals.join(" ")}; the one there is: cpu`);
    return { ...values, only: new RegExp(values.only, "i"), repeats };
  } catch (error) {
    return refuse(`${error instanceof Error ? error.message : String(error)}\n${usage}`);
  }
}

/** A word of the command line as a shell takes it. */
const quoted = (word: string) => (/^[\w.=-]+$/.test(word) ? word : `'${word}'`);

/** Builds the program that measures the machine and starts it. */
async function startMachine(): Promise<{ machine: Machine; level: string; peaks: Peaks }> {
  const build = "cargo build --release --quiet --package gradus-cpu --example machine_limits".split(" ");
  const { exitCode, output } = await runCommand(build, { cwd: root, show: false });
  if (exitCode !== 0) refuse(`machine_limits did not build:\n${output.trimEnd().split("\n").slice(-12).join("\n")}`);
  const target = Bun.env.CARGO_TARGET_DIR ?? join(root, "target");
  const limitsProgram = join(target, "release", "examples", "machine_limits");
  const [limits, told] = await Child.start([limitsProgram, "limits"]);
  const peaks = await measurePeaks(limits);
  const kind = machineKind(readFileSync("/proc/cpuinfo", "utf8"));
  const machine = { kind, threads: Number(told.threads), limitsProgram, limits, hasBf16: peaks.bf16Gflops !== null };
  return { machine, level: String(told.level), peaks };
}

const flags = readFlags();
if (flags.help) {
  console.log(usage);
  process.exit(0);
}
if (flags["setup-peers"]) {
  const failure = await setupPeers();
  console.error(`bench: ${failure ?? "the peers are ready"}`);
  process.exit(failure === undefined ? 0 : 1);
}

const began = performance.now();
const { machine, level, peaks: first } = await startMachine();
const { threads } = machine;
const show = (line: string) => (flags.json ? process.stderr.write(`${line}\n`) : console.log(line));
const load = loadavg()[0] ?? 0;
// Threads that wait for each other at every product, as OpenMP's do, suffer most from a neighbour.
if (load > 0.5)
  show(`note: something else is using this machine (load ${load.toFixed(1)}); ratios of this run mislead`);
show(tableLine(headings));
const rows: Row[] = [];
const peaks = [first];
for (const contest of cpuContests(threads)) {
  const plans = contest.rows.filter(({ work }) => flags.only.test(work));
  if (plans.length === 0) continue;
  const measured = await measureContest(contest, plans, machine, flags.repeats);
  for (const row of measured.rows) {
    show(tableLine(cells(row)));
    if (row.note !== null) show(`    ${row.peer_name === null ? "" : `${row.peer_name}: `}${row.note}`);
  }
  rows.push(...measured.rows);
  peaks.push(...measured.peaks);
}
await machine.limits.stop();

const commit = (await runCommand(["git", "describe", "--always", "--dirty"], { cwd: root, show: false })).output.trim();
const overRun = (figure: (peaks: Peaks) => number | null) => {
  const values = peaks.map(figure);
  return values.some((value) => value === null) ? null : median(values.map(Number));
};
const told: Result = result.parse({
  rows,
  commit,
  machine: `${cpus()[0]?.model ?? "unknown"}${machine.kind === undefined ? "" : ` (${machine.kind})`}, ${cpus().length} cores`,
  level,
  threads,
  peaks: {
    f32_gflops: overRun(({ f32Gflops }) => f32Gflops),
    bf16_gflops: overRun(({ bf16Gflops }) => bf16Gflops),
    int8_gops: overRun(({ int8Gops }) => int8Gops),
    read_gbps: overRun(({ readGbps }) => readGbps),
  },
  load_at_start: load,
  command: ["bun run bench", ...process.argv.slice(2).map(quoted)].join(" "),
  seconds: (performance.now() - began) / 1000,
});
if (flags.record) show(`recorded ${recordRun(told, new Date())}`);
console.log(JSON.stringify(told));
process.exit(0);
