// Run folders: ids that sort, one folder per run, names that are found.
import { afterAll, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { checkpointSteps } from "./checkpoints.ts";
import { createRunFolder, findRunFolder, runIds, writeWhole } from "./run-folder.ts";

const folder = mkdtempSync(join(tmpdir(), "gradus-folders-"));
afterAll(() => rmSync(folder, { recursive: true }));

test("ids sort by time, and a second run in the same second has its own", () => {
  const runs = join(folder, "runs");
  const now = Date.UTC(2026, 10, 21, 10, 42, 33);
  const ids = [now, now, now + 60_000].map((at) => createRunFolder(runs, "tiny", at, "{}").id);
  expect(ids).toEqual(["20261121-104233-tiny", "20261121-104233-tiny-2", "20261121-104333-tiny"]);
  expect(runIds(runs)).toEqual(ids);
  expect(readFileSync(join(runs, "last"), "utf8")).toBe("20261121-104333-tiny\n");
  expect(findRunFolder(runs, "last").id).toBe("20261121-104333-tiny");
  expect(findRunFolder(runs, "20261121-104233-tiny").config).toBe(join(runs, "20261121-104233-tiny", "config.json"));
  expect(() => findRunFolder(runs, "20261121-104233-tinny")).toThrow(
    /no run "20261121-104233-tinny" in .*did you mean "20261121-104233-tiny"/,
  );
  expect(() => findRunFolder(runs, "../runs/20261121-104233-tiny")).toThrow(/^no run/);
  expect(() => findRunFolder(join(folder, "none"), "last")).toThrow(/no run in .* yet: start one with/);
});

test("a file is written whole or not at all", () => {
  const path = join(folder, "file.json");
  writeWhole(path, "one");
  writeWhole(path, "two");
  expect(readFileSync(path, "utf8")).toBe("two");
  mkdirSync(join(folder, "taken"));
  expect(() => writeWhole(join(folder, "taken"), "three")).toThrow();
  expect(readdirSync(folder).filter((name) => name.endsWith(".partial"))).toEqual([]);
});

test("steps with a checkpoint are listed lowest first, damaged ones left out", () => {
  const checkpoints = join(folder, "checkpoints");
  expect(checkpointSteps(checkpoints)).toEqual([]);
  for (const name of ["step-5", "step-100", "step-20", "step-7.damaged", ".step-9"])
    mkdirSync(join(checkpoints, name), { recursive: true });
  expect(checkpointSteps(checkpoints)).toEqual([5, 20, 100]);
});
