// The tables of runs/gradus.sqlite: every run, stage, step, evaluation and checkpoint.
import { index, integer, primaryKey, real, sqliteTable, text } from "drizzle-orm/sqlite-core";

export const runs = sqliteTable("runs", {
  id: text("id").primaryKey(),
  recipe: text("recipe").notNull(),
  seed: integer("seed").notNull(),
  folder: text("folder").notNull(),
  config: text("config").notNull(), // the resolved config, JSON
  status: text("status", { enum: ["running", "finished", "interrupted", "failed"] }).notNull(),
  createdAt: integer("created_at").notNull(), // milliseconds since 1970
  updatedAt: integer("updated_at").notNull(),
});

export const stages = sqliteTable(
  "stages",
  {
    run: text("run").notNull(),
    idx: integer("idx").notNull(), // place in the run, from 0
    phase: text("phase").notNull(), // sft, rl:<stage>
    firstStep: integer("first_step").notNull(),
  },
  (table) => [primaryKey({ columns: [table.run, table.idx] })],
);

export const steps = sqliteTable(
  "steps",
  {
    run: text("run").notNull(),
    step: integer("step").notNull(), // global, from 1
    phase: text("phase").notNull(),
    createdAt: integer("created_at").notNull(),
  },
  (table) => [primaryKey({ columns: [table.run, table.step] })],
);

export const metrics = sqliteTable(
  "metrics",
  {
    run: text("run").notNull(),
    step: integer("step").notNull(),
    name: text("name").notNull(),
    value: real("value").notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.run, table.step, table.name] }),
    index("metrics_by_name").on(table.run, table.name, table.step),
  ],
);

export const evals = sqliteTable(
  "evals",
  {
    run: text("run").notNull(),
    step: integer("step").notNull(), // global steps done when it was taken
    phase: text("phase").notNull(), // start, sft, rl:<stage>
    task: text("task").notNull(),
    metric: text("metric").notNull(), // for example mean@8
    value: real("value").notNull(),
    n: integer("n").notNull(), // problems
    details: text("details").notNull(), // JSON: standardError, samplingError, mean length in tokens, a few samples
  },
  (table) => [primaryKey({ columns: [table.run, table.step, table.phase, table.task, table.metric] })],
);

export const checkpoints = sqliteTable(
  "checkpoints",
  {
    run: text("run").notNull(),
    step: integer("step").notNull(),
    folder: text("folder").notNull(),
    createdAt: integer("created_at").notNull(),
  },
  (table) => [primaryKey({ columns: [table.run, table.step] })],
);
