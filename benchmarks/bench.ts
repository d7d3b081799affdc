// `bun run bench [policy] [--shapes T,S,M] [--json]`: tokens a second and peak memory of a training step, of decoding and of a whole RL step.
// Each row runs in a process of its own, so that its peak memory is its own. The last line is one JSON object.
import { cpus } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { runCommand } from "../scripts/run-command.ts";
import { type BenchRow, benchRow, isShape, isSuite, shapes, works } from "./rows.ts";

const root = join(import.meta.dir, "..");

function refuse(line: string): never {
  console.error(`bench: ${line}`);
  process.exit(2);
}

/** The suite, the shapes and the output form from the command line. */
function readFlags() {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: {
        shapes: { type: "string", default: shapes.join(",") },
        json: { type: "boolean", default: false },
        help: { type: "boolean", default: false },
      },
    });
    return { ...values, suite: positionals[0] ?? "policy" };
  } catch (error) {
    return refuse(error instanceof Error ? error.message : String(error));
  }
}

const flags = readFlags();
if (flags.help) {
  console.log("usage: bun run bench [policy] [--shapes T,S,M] [--json]");
  process.exit(0);
}
if (!isSuite(flags.suite)) refuse(`there is no suite ${flags.suite}; the one there is: policy`);
const chosen = flags.shapes
  .split(",")
  .map((name) => (isShape(name) ? name : refuse(`--shapes ${name} is not one of ${shapes.join(", ")}`)));

/** One row, measured by a child process. */
async function measure(shape: string, work: string): Promise<BenchRow> {
  const script = join(root, "benchmarks", "suites", "policy.ts");
  const { exitCode, output } = await runCommand([process.execPath, script, shape, work], { cwd: root, show: false });
  if (exitCode !== 0) {
    console.error(output.trimEnd());
    process.exit(1);
  }
  return benchRow.parse(JSON.parse(output.trimEnd().split("\n").at(-1) ?? ""));
}

const print = (cells: readonly string[]) => {
  if (!flags.json)
    console.log(
      cells.map((cell, index) => (index < 3 ? cell.padEnd([7, 16, 34][index] ?? 0) : cell.padStart(12))).join(" "),
    );
};

const rows: BenchRow[] = [];
print(["shape", "work", "size", "tokens/s", "spread", "seconds", "peak GiB"]);
for (const shape of chosen) {
  for (const work of works) {
    const row = await measure(shape, work);
    rows.push(row);
    print([
      shape,
      work,
      row.size,
      row.tokensPerSecond.toFixed(0),
      `±${(row.spread * 100).toFixed(0)}%`,
      row.secondsMedian.toFixed(3),
      row.peakMemoryGib.toFixed(2),
    ]);
  }
}
const git = await runCommand(["git", "describe", "--always", "--dirty"], { cwd: root, show: false });
const machine = `${cpus()[0]?.model ?? "unknown"}, ${cpus().length} cores`;
const level = rows[0]?.level ?? "unknown";
if (!flags.json) console.log(`commit ${git.output.trim()}, ${machine}, ${level}`);
console.log(JSON.stringify({ rows, commit: git.output.trim(), machine, level }));
