// `bun run bench [cpu|judging] [--only PATTERN] [--json] [--repeats N] [--record]`: the engine against its peers and the machine's
// limits, by turns in one run; or how many answers and programs are judged a second. `bun run bench --setup-peers` installs the
// peers. The last line is one JSON object (rows.ts).
import { readFileSync } from "node:fs";
import { cpus, loadavg } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { runCommand } from "../scripts/run-command.ts";
import { measureCpu } from "./measure-cpu.ts";
import { measureJudging } from "./measure-judging.ts";
import { recordRun } from "./results.ts";
import { machineKind, type Result, type Row, result } from "./rows.ts";
import { setupPeers } from "./setup-peers.ts";
import { cells, headings, tableLine } from "./table.ts";

const root = join(import.meta.dir, "..");
const suites = { cpu: measureCpu, judging: measureJudging } as const;
const suiteNames = ["cpu", "judging"] as const;
const usage = `usage: bun run bench [cpu|judging] [--only PATTERN] [--json] [--repeats N] [--record]
       bun run bench --setup-peers
cpu        the engine, beside its peers where they are installed (default); judging: how many answers and programs a second
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
    const [named = "cpu", ...others] = positionals;
    const suite = suiteNames.find((name) => name === named);
    if (suite === undefined || others.length > 0)
      return refuse(`there is no suite ${positionals.join(" ")}; there are: ${suiteNames.join(", ")}`);
    return { ...values, suite, only: new RegExp(values.only, "i"), repeats };
  } catch (error) {
    return refuse(`${error instanceof Error ? error.message : String(error)}\n${usage}`);
  }
}

/** A word of the command line as a shell takes it. */
const quoted = (word: string) => (/^[\w.=-]+$/.test(word) ? word : `'${word}'`);

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
const print = (line: string) => (flags.json ? process.stderr.write(`${line}\n`) : console.log(line));
const load = loadavg()[0] ?? 0;
// Threads that wait for each other at every product, as OpenMP's do, suffer most from a neighbour.
if (load > 0.5)
  print(`note: something else is using this machine (load ${load.toFixed(1)}); ratios of this run mislead`);
print(tableLine(headings));
const show = (row: Row) => {
  print(tableLine(cells(row)));
  if (row.note !== null) print(`    ${row.peer_name === null ? "" : `${row.peer_name}: `}${row.note}`);
};
const measured = await suites[flags.suite]({ only: flags.only, repeats: flags.repeats, show }).catch((error: Error) =>
  refuse(error.message),
);

const git = (...words: string[]) => runCommand(["git", ...words], { cwd: root, show: false });
// What an earlier run has recorded changes nothing that is measured.
const isChanged = (await git("diff", "--quiet", "HEAD", "--", ".", ":(exclude)benchmarks/RESULTS.md")).exitCode !== 0;
const commit = `${(await git("describe", "--always")).output.trim()}${isChanged ? "-dirty" : ""}`;
const kind = machineKind(readFileSync("/proc/cpuinfo", "utf8"));
const told: Result = result.parse({
  ...measured,
  commit,
  machine: `${cpus()[0]?.model ?? "unknown"}${kind === undefined ? "" : ` (${kind})`}, ${cpus().length} cores`,
  load_at_start: load,
  command: ["bun run bench", ...process.argv.slice(2).map(quoted)].join(" "),
  seconds: (performance.now() - began) / 1000,
});
if (flags.record) print(`recorded ${recordRun(told, new Date())}`);
console.log(JSON.stringify(told));
process.exit(0);
