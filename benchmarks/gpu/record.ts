// `bun benchmarks/gpu/record.ts FILE`: keeps what run.sh printed on a machine with a GPU (or its --out file) as a run of its own:
// benchmarks/runs/<date>-<device>-<commit>/gpu.json, the JSON line as it was.
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { runName } from "../results.ts";

/** What is asked of the JSON line to give the run its name; the rest is kept as it is. */
const printed = z.looseObject({
  commit: z.string().min(1),
  device: z.looseObject({ name: z.string().min(1) }, "no GPU: only runs on one are kept"),
  parts: z.record(z.string(), z.looseObject({ state: z.string() })),
  rows: z.array(z.looseObject({ part: z.string(), work: z.string() })),
});

/** Keeps the last line of `text` below `runs`; gives the folder. Throws with what is wrong with it. */
export function recordGpuRun(text: string, runs: string, date: Date): string {
  const line = text.trimEnd().split("\n").at(-1) ?? "";
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    throw new Error("the last line is not JSON; give what run.sh printed, whole");
  }
  const found = printed.safeParse(value);
  if (!found.success) throw new Error(`the last line is not that of run.sh: ${found.error.issues[0]?.message}`);
  const { device, commit } = found.data;
  const folder = join(runs, runName({ machine: device.name, commit }, date));
  if (existsSync(folder)) throw new Error(`${folder} exists; a run is kept once`);
  mkdirSync(folder, { recursive: true });
  const path = join(folder, "gpu.json");
  writeFileSync(`${path}.tmp`, `${JSON.stringify(value, null, 1)}\n`);
  renameSync(`${path}.tmp`, path);
  return folder;
}

if (import.meta.main) {
  try {
    const [file, ...others] = process.argv.slice(2);
    if (file === undefined || others.length > 0) throw new Error("usage: bun benchmarks/gpu/record.ts FILE");
    const text = readFileSync(file, "utf8");
    console.log(recordGpuRun(text, join(import.meta.dir, "..", "runs"), new Date()));
  } catch (error) {
    console.error(`record: ${error instanceof Error ? error.message : String(error)}`);
    process.exit(1);
  }
}
