// What run.sh printed on a GPU, kept as a run of its own.
import { afterAll, expect, test } from "bun:test";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { recordGpuRun } from "./record.ts";

const scratch = mkdtempSync(join(tmpdir(), "gradus-gpu-record-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

test("a run on a GPU is kept under date, device and commit, and nothing else is", () => {
  const date = new Date("2026-12-01T00:00:00Z");
  const line = JSON.stringify({ commit: "abc123", device: { name: "NVIDIA H200" }, parts: {}, rows: [] });
  const folder = recordGpuRun(`a table\n${line}\n`, scratch, date);
  expect(folder).toBe(join(scratch, "2026-12-01-nvidia-h200-abc123"));
  expect(JSON.parse(readFileSync(join(folder, "gpu.json"), "utf8"))).toEqual(JSON.parse(line));
  expect(() => recordGpuRun(line, scratch, date)).toThrow("a run is kept once");
  const without = JSON.stringify({ commit: "abc123", device: null, parts: {}, rows: [] });
  expect(() => recordGpuRun(without, scratch, date)).toThrow("no GPU: only runs on one are kept");
  expect(() => recordGpuRun("a table", scratch, date)).toThrow("not JSON");
  expect(existsSync(join(scratch, "2026-12-01-nvidia-h200-abc123", "gpu.json.tmp"))).toBe(false);
});
