// `bun run train` from its command line to its exit code; every side effect comes in as a parameter.
import { join, resolve } from "node:path";
import { ConfigError, type ConfigFiles } from "@gradus/config";
import { openStore } from "@gradus/store";
import { parseTrainCommand, type TrainCommand, trainHelp } from "./args.ts";
import { configureRun } from "./configure.ts";
import type { RunEvent, View } from "./events.ts";
import { exitCodeOf, explainError } from "./explain-error.ts";
import { type Interrupt, InterruptedError } from "./interrupt.ts";
import { type PreparedRun, prepareRun } from "./prepare-run.ts";
import { type RunInput, runRecipe } from "./run.ts";
import { createRunFolder, findRunFolder, readRunConfig, writeWhole } from "./run-folder.ts";
import type { PolicySource } from "./run-policy.ts";

export type TrainEffects = {
  readonly cwd: string;
  readonly files: ConfigFiles;
  readonly policies: PolicySource;
  readonly clock: { now(): number; seconds(): number };
  readonly peakMemoryGib: () => number;
  readonly watchSignals: () => Interrupt;
  /** The view for stdout: JSON lines, or whatever fits the terminal. */
  readonly openView: (json: boolean) => View;
  readonly writeOut: (text: string) => void;
  readonly writeError: (text: string) => void;
};

type RunCommand = Exclude<TrainCommand, { kind: "help" }>;

/** Runs the verb; gives the exit code: 0, 2 where it was refused, 1 for a run that failed, 130 or 143 after a signal. */
export async function trainCommand(argv: readonly string[], effects: TrainEffects): Promise<number> {
  const began = effects.clock.seconds();
  let begun = false;
  try {
    const command = parseTrainCommand(argv);
    if (command.kind === "help") {
      effects.writeOut(`${trainHelp}\n`);
      return 0;
    }
    await train(command, effects, began, () => {
      begun = true;
    });
    return 0;
  } catch (error) {
    effects.writeError(`${explainError(error)}\n`);
    return exitCodeOf(error, begun);
  }
}

/** @param onBegin called when all is checked and the recipe begins. */
async function train(command: RunCommand, effects: TrainEffects, began: number, onBegin: () => void): Promise<void> {
  const { cwd, files, policies, clock } = effects;
  const runs = resolve(cwd, command.out);
  let folder = command.kind === "resume" ? findRunFolder(runs, command.run) : null;
  const run = command.kind === "start" ? await configureRun(command, cwd, files) : readRunConfig(folder?.config ?? "");
  const interrupt = effects.watchSignals();
  const view = effects.openView(command.json);
  // What loading has to say waits until it succeeded: a refusal is one line.
  const held: RunEvent[] = [];
  let show = (event: RunEvent): void => {
    // Phases that read the same file would say the same of it.
    if (!held.some((earlier) => Bun.deepEquals(earlier, event))) held.push(event);
  };
  try {
    const prepared = await prepareRun({
      run,
      policies,
      checkpoints: folder?.checkpoints ?? null,
      rollouts: () => folder?.rollouts ?? runs,
      clock: clock.seconds,
      show: (event) => show(event),
    });
    try {
      show = view.show;
      held.forEach(show);
      const config = `${JSON.stringify(prepared.run, null, 2)}\n`;
      // A run that is resumed has decided before, unless another version began it.
      if (folder !== null && run.activationBytesMax !== prepared.run.activationBytesMax)
        writeWhole(folder.config, config);
      folder ??= createRunFolder(runs, run.name, clock.now(), config);
      const { peakMemoryGib } = effects;
      const place = { run: prepared.run, folder, runs, out: command.out };
      await runAndBook(prepared, { ...place, policies, view, interrupt, clock, began, peakMemoryGib, onBegin });
    } finally {
      await prepared.close();
    }
  } finally {
    view.close();
  }
}

type Booking = Omit<RunInput, "store"> & {
  readonly runs: string;
  readonly out: string;
  readonly onBegin: () => void;
};

async function runAndBook(prepared: PreparedRun, { runs, onBegin, ...input }: Booking): Promise<void> {
  const store = openStore(join(runs, "gradus.sqlite"));
  try {
    const { id, checkpoints } = input.folder;
    // To begin anew would forget every step of it.
    if (prepared.resumed === null && store.checkpoints(id).length > 0)
      throw new ConfigError(`${checkpoints}: the run's checkpoints are gone; put them back, or start a new run`);
    onBegin();
    await bookRun(prepared, { ...input, store });
  } finally {
    store.close();
  }
}

/** Runs the recipe and books in the store how it went. */
async function bookRun(
  prepared: PreparedRun,
  { out, ...input }: Omit<Booking, "runs" | "onBegin"> & RunInput,
): Promise<void> {
  const { run, folder, clock, store } = input;
  try {
    const now = clock.now();
    if (store.run(folder.id) === undefined) {
      const row = { recipe: run.name, seed: run.seed, folder: folder.folder, config: JSON.stringify(run) };
      store.addRun({ id: folder.id, ...row, status: "running", createdAt: now, updatedAt: now });
    }
    store.setStatus(folder.id, "running", now);
    await runRecipe(prepared, input);
    store.setStatus(folder.id, "finished", clock.now());
  } catch (error) {
    const interrupted = error instanceof InterruptedError;
    store.setStatus(folder.id, interrupted ? "interrupted" : "failed", clock.now());
    const place = out === "runs" ? "" : ` --out ${out}`;
    const goOn = `go on with: bun run train --resume ${folder.id}${place}`;
    if (interrupted) throw new InterruptedError(error.signal, `${error.message}; ${goOn}`);
    throw error;
  }
}
