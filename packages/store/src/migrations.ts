// The database's history, oldest first. A migration that has been released is never changed: a new one is added.

export const migrations: readonly string[] = [
  `CREATE TABLE runs (
    id TEXT PRIMARY KEY NOT NULL, recipe TEXT NOT NULL, seed INTEGER NOT NULL, folder TEXT NOT NULL, config TEXT NOT NULL,
    status TEXT NOT NULL, created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL
  );
  CREATE TABLE stages (
    run TEXT NOT NULL, idx INTEGER NOT NULL, phase TEXT NOT NULL, first_step INTEGER NOT NULL,
    PRIMARY KEY (run, idx)
  ) WITHOUT ROWID;
  CREATE TABLE steps (
    run TEXT NOT NULL, step INTEGER NOT NULL, phase TEXT NOT NULL, created_at INTEGER NOT NULL,
    PRIMARY KEY (run, step)
  ) WITHOUT ROWID;
  CREATE TABLE metrics (
    run TEXT NOT NULL, step INTEGER NOT NULL, name TEXT NOT NULL, value REAL NOT NULL,
    PRIMARY KEY (run, step, name)
  ) WITHOUT ROWID;
  CREATE INDEX metrics_by_name ON metrics (run, name, step);
  CREATE TABLE evals (
    run TEXT NOT NULL, step INTEGER NOT NULL, phase TEXT NOT NULL, task TEXT NOT NULL, metric TEXT NOT NULL,
    value REAL NOT NULL, n INTEGER NOT NULL, details TEXT NOT NULL,
    PRIMARY KEY (run, step, phase, task, metric)
  ) WITHOUT ROWID;
  CREATE TABLE checkpoints (
    run TEXT NOT NULL, step INTEGER NOT NULL, folder TEXT NOT NULL, created_at INTEGER NOT NULL,
    PRIMARY KEY (run, step)
  ) WITHOUT ROWID;`,
];
