// The folders of runs on disk: runs/<id>/ with config.json, checkpoints and rollouts; runs/last names the newest.
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { ConfigError, nearestName, type ResolvedRun, resolveRun } from "@gradus/config";
import { UsageError } from "./usage-error.ts";

/** Absolute places of one run. */
export type RunFolder = {
  readonly id: string;
  readonly folder: string;
  readonly config: string;
  readonly checkpoints: string;
  readonly rollouts: string;
  readonly report: string;
};

/**
 * Makes the folder of a new run and names it in `last`. The id is readable and sorts by time: 20261121-104233-tiny.
 * @param now milliseconds since 1970.
 */
export function createRunFolder(runs: string, recipe: string, now: number, config: string): RunFolder {
  mkdirSync(runs, { recursive: true });
  const time = new Date(now).toISOString().replace(/[-:]/g, "").replace("T", "-").slice(0, 15);
  for (let attempt = 1; ; attempt++) {
    const id = attempt === 1 ? `${time}-${recipe}` : `${time}-${recipe}-${attempt}`;
    if (!claim(join(runs, id))) continue;
    const run = runFolder(runs, id);
    writeWhole(run.config, config);
    writeWhole(join(runs, "last"), `${id}\n`);
    return run;
  }
}

/** The folder of an existing run. @param name an id, or `last`. @throws UsageError with the nearest id. */
export function findRunFolder(runs: string, name: string): RunFolder {
  const id = name === "last" ? newestId(runs) : name;
  const run = runFolder(runs, id);
  if (id === basename(id) && existsSync(run.config)) return run;
  const known = runIds(runs);
  const nearest = nearestName(id, known);
  const newest = known.length === 0 ? "there is none yet" : `the newest is ${known.at(-1)}`;
  throw new UsageError(`no run "${id}" in ${runs} (${nearest === undefined ? newest : `did you mean "${nearest}"?`})`);
}

/** The resolved config that a run's config.json holds. @throws ConfigError */
export function readRunConfig(path: string): ResolvedRun {
  try {
    return resolveRun(JSON.parse(readFileSync(path, "utf8")), path);
  } catch (error) {
    if (error instanceof ConfigError) throw error;
    throw new ConfigError(`${path}: not the JSON that a run wrote; start a new run`, { cause: error });
  }
}

/** Ids of all runs, oldest first. */
export function runIds(runs: string): string[] {
  if (!existsSync(runs)) return [];
  return readdirSync(runs)
    .filter((id) => existsSync(join(runs, id, "config.json")))
    .sort();
}

/** Writes a small file all or nothing: beside its place, synced, then renamed. */
export function writeWhole(path: string, text: string): void {
  const temporary = `${path}.partial`;
  try {
    const file = openSync(temporary, "w");
    try {
      writeFileSync(file, text);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
  const folder = openSync(dirname(path), "r");
  fsyncSync(folder);
  closeSync(folder);
}

function runFolder(runs: string, id: string): RunFolder {
  const folder = join(runs, id);
  return {
    id,
    folder,
    config: join(folder, "config.json"),
    checkpoints: join(folder, "checkpoints"),
    rollouts: join(folder, "rollouts"),
    report: join(folder, "report.md"),
  };
}

function newestId(runs: string): string {
  const last = join(runs, "last");
  if (existsSync(last) && statSync(last).isFile()) return readFileSync(last, "utf8").trim();
  const newest = runIds(runs).at(-1);
  if (newest !== undefined) return newest;
  throw new UsageError(`no run in ${runs} yet: start one with \`bun run train\`, or name its folder with --out`);
}

function claim(folder: string): boolean {
  try {
    mkdirSync(folder);
    return true;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "EEXIST") return false;
    throw error;
  }
}
