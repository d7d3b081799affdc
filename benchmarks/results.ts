// Recorded runs: benchmarks/runs/<date>-<device>-<commit>/ with the raw rows, and RESULTS.md, which is generated from them all.
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Result, result } from "./rows.ts";
import { cells, headings, short } from "./table.ts";

const runsFolder = join(import.meta.dir, "runs");
export const resultsPath = join(import.meta.dir, "RESULTS.md");

/** Writes a file whole or not at all. */
function writeWhole(path: string, text: string): void {
  writeFileSync(`${path}.tmp`, text);
  renameSync(`${path}.tmp`, path);
}

/** The name of a run's folder: date, the device in a word, the commit. */
export function runName({ machine, commit }: Pick<Result, "machine" | "commit">, date: Date): string {
  const device = /\((zen\d)\)/.exec(machine)?.[1] ?? machine.split(",")[0] ?? "cpu";
  const words = device.toLowerCase().replaceAll(/[^a-z0-9]+/g, "-");
  return `${date.toISOString().slice(0, 10)}-${words}-${commit}`;
}

/** Keeps a run: `rows.jsonl` has a line for each row, `summary.json` the rest. Renews RESULTS.md. Gives the folder. */
export function recordRun(run: Result, date: Date): string {
  const name = runName(run, date);
  // A second run of the day on the same commit stands beside the first one.
  let folder = join(runsFolder, name);
  for (let count = 2; existsSync(folder); count += 1) folder = join(runsFolder, `${name}-${count}`);
  mkdirSync(folder, { recursive: true });
  const { rows, ...summary } = run;
  writeWhole(join(folder, "rows.jsonl"), rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
  writeWhole(join(folder, "summary.json"), `${JSON.stringify(summary, null, 2)}\n`);
  writeWhole(resultsPath, resultsText(recordedRuns()));
  return folder;
}

/** Every recorded run by the name of its folder, newest first. */
export function recordedRuns(): (readonly [name: string, run: Result])[] {
  if (!existsSync(runsFolder)) return [];
  const read = (name: string, file: string) => readFileSync(join(runsFolder, name, file), "utf8");
  return (
    readdirSync(runsFolder)
      // Runs on a GPU are kept as run.sh printed them (gpu/record.ts), and stand in no table of peers on the CPU.
      .filter((name) => existsSync(join(runsFolder, name, "summary.json")))
      .sort()
      .reverse()
      .map((name) => {
        const rows = read(name, "rows.jsonl").trimEnd().split("\n");
        return [
          name,
          result.parse({ ...JSON.parse(read(name, "summary.json")), rows: rows.map((line) => JSON.parse(line)) }),
        ];
      })
  );
}

const markdownLine = (texts: readonly string[]) => `| ${texts.join(" | ")} |`;

function runText(name: string, run: Result): string {
  const peaks = Object.entries(run.peaks).map(([key, value]) => `${key} ${value === null ? "–" : short(value)}`);
  const met = run.rows.filter((row) => row.met === true).length;
  const judged = run.rows.filter((row) => row.met !== null).length;
  return [
    `## ${name}`,
    "",
    `${run.machine}, ${run.threads} threads, ${run.level === null ? "" : `level ${run.level}, `}commit ${run.commit}, \`${run.command}\`, ${Math.round(run.seconds / 60)} minutes.`,
    `${peaks.length === 0 ? "" : `Measured beside: ${peaks.join(", ")}; `}load before the run ${run.load_at_start.toFixed(1)}. Targets met: ${met} of ${judged}.`,
    "",
    markdownLine([...headings, "peer's name and version; what was compared"]),
    markdownLine([...headings, ""].map(() => "---")),
    ...run.rows.map((row) => markdownLine([...cells(row), [row.peer_name, row.note].filter(Boolean).join("; ")])),
    "",
  ].join("\n");
}

/** RESULTS.md for the recorded runs. */
export function resultsText(runs: readonly (readonly [name: string, run: Result])[]): string {
  const head = `# Results

Generated from \`benchmarks/runs\` by \`bun run bench SUITE --record\`; do not edit. Medians with their spread; "to reach" is a ratio to the peer or, where that
is less, 80% of the limit; a share or a bound stands as it is. How it is measured: CONTRIBUTING.md.
`;
  return [head, ...runs.map(([name, run]) => runText(name, run))].join("\n");
}
