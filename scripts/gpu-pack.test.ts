// The GPU bundle is made here and its parts for a machine without a GPU run, so that a GPU is never met unprepared.
import { afterAll, expect, test } from "bun:test";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import { recordGpuRun } from "../benchmarks/gpu/record.ts";
import { makeBundle } from "./gpu-pack.ts";
import { isPackCurrent } from "./kernel-compile.ts";

const root = join(import.meta.dir, "..");
const scratch = mkdtempSync(join(tmpdir(), "gradus-gpu-pack-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const told = z.object({
  parts: z.record(z.string(), z.object({ state: z.string(), notes: z.array(z.string()) })),
  rows: z.array(z.looseObject({ part: z.string(), work: z.string(), ok: z.boolean().optional() })),
});

/** Runs a bundle on a machine that shows no GPU; gives its last line. */
function run(folder: string, ...given: string[]) {
  // Of PATH alone: nvidia-smi is looked for there, and a machine with a GPU is to look like one without.
  const child = Bun.spawnSync([join(folder, "run.sh"), ...given], {
    env: { PATH: "/usr/bin:/bin", GRADUS_BUN: process.execPath },
  });
  const lines = child.stdout.toString().trimEnd().split("\n");
  return { exitCode: child.exitCode, last: told.parse(JSON.parse(lines.at(-1) ?? "")) };
}

test("the bundle is made, and its parts for the CPU run", async () => {
  const folder = join(scratch, "bundle");
  // Without nvcc there is no pack, and the bundle says so; this test fetches nothing.
  const withKernels = isPackCurrent(root);
  await makeBundle({ parts: ["cpu", "check"], folder, packed: false, withKernels });
  const { exitCode, last } = run(folder);
  expect(last.parts.cpu).toMatchObject(
    withKernels ? { state: "passed", notes: [] } : { state: "missing", notes: ["this bundle carries no kernel pack"] },
  );
  expect(last.rows.length).toBeGreaterThan(12);
  expect(last.rows.filter((row) => row.ok === false)).toEqual([]);
  expect(exitCode).toBe(0);
  expect(run(folder, "--part", "check").last.parts.check?.state).toBe("missing");
  expect(run(folder, "--part", "bench").last.parts.bench?.notes.join()).toContain("gpu-pack --part bench");
}, 300_000);

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
