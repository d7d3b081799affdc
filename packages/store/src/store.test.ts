// The store in memory: what is written is read, what is redone is replaced, what lies beyond a checkpoint is forgotten.
import { Database } from "bun:sqlite";
import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { getTableColumns, getTableName } from "drizzle-orm";
import { migrations } from "./migrations.ts";
import * as tables from "./schema.ts";
import { openStore } from "./store.ts";

const folder = mkdtempSync(join(tmpdir(), "gradus-store-"));
afterAll(() => rmSync(folder, { recursive: true }));

const run = {
  id: "a",
  recipe: "tiny",
  seed: 1,
  folder: "/a",
  config: "{}",
  status: "running",
  createdAt: 1,
  updatedAt: 1,
} as const;

test("runs are listed newest first and keep their status", () => {
  const store = openStore(":memory:");
  store.addRun(run);
  store.addRun({ ...run, id: "b", createdAt: 2 });
  expect(store.latestRun()?.id).toBe("b");
  store.setStatus("a", "finished", 9);
  expect(store.run("a")).toEqual({ ...run, status: "finished", updatedAt: 9 });
  expect(store.run("c")).toBeUndefined();
});

test("a step done again replaces every metric of the first time", () => {
  const store = openStore(":memory:");
  const step = { run: "a", step: 1, phase: "sft", createdAt: 1 };
  store.addStep(step, { "actor/lr": 0.5, "sft/loss": 2, "critic/score/mean": Number.NaN });
  store.addStep({ ...step, step: 2 }, { "actor/lr": 0.25 });
  store.addStep(step, { "actor/lr": 1 / 3 });
  expect(store.steps("a")).toEqual([
    { step: 1, phase: "sft", metrics: { "actor/lr": 1 / 3 } },
    { step: 2, phase: "sft", metrics: { "actor/lr": 0.25 } },
  ]);
  expect(store.series("a", "actor/lr")).toEqual([
    { step: 1, value: 1 / 3 },
    { step: 2, value: 0.25 },
  ]);
});

test("a resume forgets what lies beyond its checkpoint, and only of its run", () => {
  const store = openStore(":memory:");
  for (const id of ["a", "b"]) {
    store.beginStage({ run: id, idx: 0, phase: "sft", firstStep: 1 });
    store.beginStage({ run: id, idx: 1, phase: "rl:one", firstStep: 3 });
    store.beginStage({ run: id, idx: 2, phase: "rl:two", firstStep: 4 });
    for (const step of [1, 2, 3, 4]) {
      store.addStep({ run: id, step, phase: "x", createdAt: 0 }, { value: step });
      store.addEval({ run: id, step, phase: "x", task: "t", metric: "mean@1", value: 0.5, n: 2, details: "{}" });
      store.addCheckpoint({ run: id, step, folder: `step-${step}`, createdAt: 0 });
    }
  }
  store.forgetAfter("a", 2);
  expect(store.steps("a").map(({ step }) => step)).toEqual([1, 2]);
  expect(store.series("a", "value").length).toBe(2);
  expect(store.evals("a").length).toBe(2);
  expect(store.checkpoints("a").map(({ step }) => step)).toEqual([1, 2]);
  expect(store.stages("a").map(({ phase }) => phase)).toEqual(["sft", "rl:one"]);
  expect([store.steps("b").length, store.evals("b").length, store.stages("b").length]).toEqual([4, 4, 3]);
  store.removeCheckpoint("a", 1);
  expect(store.checkpoints("a").map(({ step }) => step)).toEqual([2]);
});

test("the migrations make the tables that the queries know", () => {
  const database = new Database(":memory:");
  for (const migration of migrations) database.run(migration);
  for (const table of Object.values(tables)) {
    const rows = database.query<{ name: string }, []>(`PRAGMA table_info(${getTableName(table)})`).all();
    const columns = Object.values(getTableColumns(table)).map(({ name }) => name);
    expect(rows.map(({ name }) => name)).toEqual(columns);
  }
});

test("a store survives closing; a newer one and a foreign file are refused", () => {
  const path = join(folder, "gradus.sqlite");
  const store = openStore(path);
  store.addRun(run);
  store.close();
  const again = openStore(path);
  expect(again.run("a")?.recipe).toBe("tiny");
  again.close();
  const database = new Database(path);
  database.run("PRAGMA user_version = 99");
  database.close();
  expect(() => openStore(path)).toThrow(/gradus\.sqlite: written by a newer version of Gradus \(store 99/);
  writeFileSync(`${path}.txt`, "not a database, but long enough to be read as the header of one: ".repeat(20));
  expect(() => openStore(`${path}.txt`)).toThrow(/move the file away/);
});
