// Runs, steps, evaluations and checkpoints in SQLite: what the run writes and what tables and tools read.
import { Database } from "bun:sqlite";
import { and, asc, desc, eq, gt } from "drizzle-orm";
import { type BunSQLiteDatabase, drizzle } from "drizzle-orm/bun-sqlite";
import { migrations } from "./migrations.ts";
import { checkpoints, evals, metrics, runs, stages, steps } from "./schema.ts";

export type RunRow = typeof runs.$inferSelect;
export type StageRow = typeof stages.$inferSelect;
export type StepRow = typeof steps.$inferSelect;
export type EvalRow = typeof evals.$inferSelect;
export type CheckpointRow = typeof checkpoints.$inferSelect;

/** A step with its metrics by name. */
export type StepMetricsRow = { step: number; phase: string; metrics: Record<string, number> };

/** The database cannot be used: made by a newer version, or not a database. */
export class StoreError extends Error {
  override readonly name = "StoreError";
  readonly code = "store";
}

/**
 * Opens (and creates or migrates) a store.
 * @param file a path, or `:memory:`.
 * @throws StoreError for a file that is no store, or one from a newer version.
 */
export function openStore(file: string): Store {
  try {
    const database = new Database(file, { create: true, strict: true });
    database.run("PRAGMA journal_mode = WAL");
    database.run("PRAGMA synchronous = NORMAL");
    database.run("PRAGMA busy_timeout = 10000");
    migrate(database, file);
    return new Store(database);
  } catch (error) {
    if (error instanceof StoreError) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new StoreError(`${file}: ${reason}; move the file away to start a new store`, { cause: error });
  }
}

function migrate(database: Database, file: string): void {
  const version = database.query<{ user_version: number }, []>("PRAGMA user_version").get()?.user_version ?? 0;
  if (version > migrations.length)
    throw new StoreError(
      `${file}: written by a newer version of Gradus (store ${version}, this one knows ${migrations.length})`,
    );
  for (const [index, migration] of migrations.entries()) {
    if (index < version) continue;
    database.transaction(() => {
      database.run(migration);
      database.run(`PRAGMA user_version = ${index + 1}`);
    })();
  }
}

/** One open database. Close it when the run is over. */
export class Store {
  readonly #database: Database;
  readonly #orm: BunSQLiteDatabase;

  constructor(database: Database) {
    this.#database = database;
    this.#orm = drizzle(database);
  }

  addRun(run: RunRow): void {
    this.#orm.insert(runs).values(run).run();
  }

  setStatus(run: string, status: RunRow["status"], now: number): void {
    this.#orm.update(runs).set({ status, updatedAt: now }).where(eq(runs.id, run)).run();
  }

  run(id: string): RunRow | undefined {
    return this.#orm.select().from(runs).where(eq(runs.id, id)).get();
  }

  /** Newest first. */
  runs(): RunRow[] {
    return this.#orm.select().from(runs).orderBy(desc(runs.createdAt), desc(runs.id)).all();
  }

  latestRun(): RunRow | undefined {
    return this.runs()[0];
  }

  /** A stage that begins; a stage that is begun again after a resume replaces itself. */
  beginStage(stage: StageRow): void {
    this.#orm
      .insert(stages)
      .values(stage)
      .onConflictDoUpdate({ target: [stages.run, stages.idx], set: stage })
      .run();
  }

  stages(run: string): StageRow[] {
    return this.#orm.select().from(stages).where(eq(stages.run, run)).orderBy(asc(stages.idx)).all();
  }

  /** A step and its metrics in one transaction; a step that is done again replaces all that it left before. */
  addStep(step: StepRow, values: Readonly<Record<string, number>>): void {
    this.#orm.transaction((transaction) => {
      const ofStep = and(eq(metrics.run, step.run), eq(metrics.step, step.step));
      transaction.delete(metrics).where(ofStep).run();
      transaction
        .insert(steps)
        .values(step)
        .onConflictDoUpdate({ target: [steps.run, steps.step], set: step })
        .run();
      const rows = Object.entries(values).map(([name, value]) => ({ run: step.run, step: step.step, name, value }));
      // SQLite has no NaN: a metric that does not exist in a step has no row.
      const finite = rows.filter((row) => Number.isFinite(row.value));
      if (finite.length > 0) transaction.insert(metrics).values(finite).run();
    });
  }

  /** Adds metrics to a step that is already there (evaluations, checkpoints), replacing those of the same name. */
  addMetrics(run: string, step: number, values: Readonly<Record<string, number>>): void {
    this.#orm.transaction((transaction) => {
      for (const [name, value] of Object.entries(values)) {
        if (!Number.isFinite(value)) continue;
        const target = [metrics.run, metrics.step, metrics.name];
        transaction
          .insert(metrics)
          .values({ run, step, name, value })
          .onConflictDoUpdate({ target, set: { value } })
          .run();
      }
    });
  }

  /** The steps of a run in order, each with its metrics. */
  steps(run: string): StepMetricsRow[] {
    const rows = this.#orm.select().from(steps).where(eq(steps.run, run)).orderBy(asc(steps.step)).all();
    const values = this.#orm.select().from(metrics).where(eq(metrics.run, run)).all();
    const byStep = new Map<number, StepMetricsRow>();
    for (const { step, phase } of rows) byStep.set(step, { step, phase, metrics: {} });
    for (const { step, name, value } of values) {
      const row = byStep.get(step);
      if (row !== undefined) row.metrics[name] = value;
    }
    return [...byStep.values()];
  }

  /** One metric over the steps of a run, in order. */
  series(run: string, name: string): { step: number; value: number }[] {
    return this.#orm
      .select({ step: metrics.step, value: metrics.value })
      .from(metrics)
      .where(and(eq(metrics.run, run), eq(metrics.name, name)))
      .orderBy(asc(metrics.step))
      .all();
  }

  addEval(row: EvalRow): void {
    const target = [evals.run, evals.step, evals.phase, evals.task, evals.metric];
    this.#orm.insert(evals).values(row).onConflictDoUpdate({ target, set: row }).run();
  }

  evals(run: string): EvalRow[] {
    return this.#orm.select().from(evals).where(eq(evals.run, run)).orderBy(asc(evals.step)).all();
  }

  addCheckpoint(row: CheckpointRow): void {
    const target = [checkpoints.run, checkpoints.step];
    this.#orm.insert(checkpoints).values(row).onConflictDoUpdate({ target, set: row }).run();
  }

  removeCheckpoint(run: string, step: number): void {
    this.#orm
      .delete(checkpoints)
      .where(and(eq(checkpoints.run, run), eq(checkpoints.step, step)))
      .run();
  }

  checkpoints(run: string): CheckpointRow[] {
    return this.#orm.select().from(checkpoints).where(eq(checkpoints.run, run)).orderBy(asc(checkpoints.step)).all();
  }

  /** Forgets what lies beyond the checkpoint that a resume goes on from: those steps are done again. */
  forgetAfter(run: string, step: number): void {
    this.#orm.transaction((transaction) => {
      transaction
        .delete(steps)
        .where(and(eq(steps.run, run), gt(steps.step, step)))
        .run();
      transaction
        .delete(metrics)
        .where(and(eq(metrics.run, run), gt(metrics.step, step)))
        .run();
      transaction
        .delete(evals)
        .where(and(eq(evals.run, run), gt(evals.step, step)))
        .run();
      transaction
        .delete(checkpoints)
        .where(and(eq(checkpoints.run, run), gt(checkpoints.step, step)))
        .run();
      transaction
        .delete(stages)
        .where(and(eq(stages.run, run), gt(stages.firstStep, step + 1)))
        .run();
    });
  }

  close(): void {
    this.#database.close(false);
  }
}
