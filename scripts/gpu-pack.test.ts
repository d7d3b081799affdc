// The GPU bundle is made here and its parts for a machine without a GPU run, so that a GPU is never met unprepared.
import { afterAll, beforeAll, expect, test } from "bun:test";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import { makeBundle, partNames } from "./gpu-pack.ts";
import { isPackCurrent } from "./kernel-compile.ts";

const root = join(import.meta.dir, "..");
const scratch = mkdtempSync(join(tmpdir(), "gradus-gpu-pack-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const told = z.object({
  parts: z.record(z.string(), z.object({ state: z.string(), notes: z.array(z.string()) })),
  rows: z.array(z.looseObject({ part: z.string(), work: z.string(), ok: z.boolean().optional() })),
  goals: z.array(z.object({ goal: z.string(), to_reach: z.string(), rows: z.number(), met: z.boolean().nullable() })),
  seconds: z.number(),
});

/** The last line of what a run printed. */
const lastOf = (output: string) => told.parse(JSON.parse(output.trimEnd().split("\n").at(-1) ?? ""));

/** The system's programs but the driver's: a machine with a GPU is to look like one without. */
function programsWithoutDriver(): string {
  const folder = join(scratch, "programs");
  mkdirSync(folder);
  for (const name of readdirSync("/usr/bin")) {
    if (!name.startsWith("nvidia")) symlinkSync(join("/usr/bin", name), join(folder, name));
  }
  return folder;
}

const bare = { PATH: programsWithoutDriver(), HOME: scratch, TMPDIR: scratch, GRADUS_BUN: process.execPath };

/** Runs a bundle; gives its exit code and its last line. */
function run(folder: string, given: readonly string[], env: Record<string, string> = bare) {
  const child = Bun.spawnSync([join(folder, "run.sh"), ...given], { env, cwd: scratch });
  return { exitCode: child.exitCode, last: lastOf(child.stdout.toString()) };
}

/** A program that shows a row and hangs, in the place of Bun, and a driver that shows a GPU. */
function standIns(): Record<string, string> {
  const folder = mkdtempSync(join(scratch, "stand-ins-"));
  const program = (name: string, text: string) =>
    writeFileSync(join(folder, name), `#!/bin/sh\n${text}\n`, { mode: 0o755 });
  program("nvidia-smi", "echo 'NVIDIA Stand-in, 580.65.06, 143771'");
  program("compute-sanitizer", "echo '========= ERROR SUMMARY: 1 error'; exit 9");
  program("bun", `echo $$ > ${folder}/pid; echo '{"work":"a row","ok":true}'; exec sleep 1000`);
  return { ...bare, PATH: `${folder}:${bare.PATH}`, GRADUS_BUN: join(folder, "bun"), PID_FILE: join(folder, "pid") };
}

const isRunning = (pidFile = "") => existsSync(join("/proc", readFileSync(pidFile, "utf8").trim(), "exe"));

let bundle = "";
beforeAll(async () => {
  bundle = join(scratch, "bundle");
  // Without nvcc there is no pack, and the bundle says so; these tests fetch nothing.
  await makeBundle({ parts: partNames, folder: bundle, packed: false, withKernels: isPackCurrent(root) });
}, 600_000);

test("the bundle's parts for the CPU run: each other part in small", () => {
  const { exitCode, last } = run(bundle, ["--part", "cpu"]);
  expect(last.rows.filter((row) => row.ok === false)).toEqual([]);
  const { state, notes } = last.parts.cpu ?? { state: "", notes: [] };
  // What may be missing here: the pack without nvcc, the peers without PyTorch.
  const other = notes.filter(
    (note) => note !== "this bundle carries no kernel pack" && !note.includes("has no PyTorch"),
  );
  expect(other).toEqual([]);
  expect(state).toBe(notes.length === 0 ? "passed" : "missing");
  expect(last.rows.length).toBeGreaterThan(60);
  expect(last.goals.length).toBeGreaterThan(18);
  expect(last.goals.filter(({ met }) => met !== null)).toEqual([]);
  expect(exitCode).toBe(0);
}, 600_000);

test("without a GPU its other parts say what they miss", () => {
  expect(run(bundle, ["--part", "check"]).last.parts.check).toMatchObject({
    state: "missing",
    notes: ["it needs an NVIDIA GPU (there is no nvidia-smi, so no NVIDIA driver)"],
  });
});

test("parts that fail or hang stop neither the others nor the end", () => {
  const env = standIns();
  const parts = ["check", "sanitizer", "bench"];
  const failed = run(
    bundle,
    parts.flatMap((part) => ["--part", part]),
    env,
  );
  for (const part of parts) expect(failed.last.parts[part]?.state).toBe("failed");
  expect(failed.last.parts.check?.notes.join()).toContain("driver");
  expect(failed.last.parts.bench?.notes.join()).toContain("bench_ops matmul: exit code 3");
  expect(failed.exitCode).toBe(1);
  const hung = run(bundle, ["--part", "engine", "--seconds", "20"], env);
  expect(hung.last.parts.engine?.state).toBe("failed");
  expect(hung.last.parts.engine?.notes.join()).toContain("it ran over its time");
  expect(hung.last.rows.filter(({ part, work }) => part === "engine" && work === "a row").length).toBeGreaterThan(0);
  expect(isRunning(env.PID_FILE)).toBe(false);
  expect(hung.exitCode).toBe(1);
}, 120_000);

test.each([
  ["SIGTERM", "gpu.json"],
  ["SIGKILL", "gpu.json.partial"],
] as const)(
  "what was found before %s is kept, and nothing goes on",
  async (signal, kept) => {
    const env = standIns();
    const cwd = mkdtempSync(join(scratch, "killed-"));
    const given = ["--part", "engine-7b", "--out", "gpu.json"];
    const child = Bun.spawn([join(bundle, "run.sh"), ...given], { env, cwd, stdio: ["ignore", "pipe", "ignore"] });
    let output = "";
    const decoder = new TextDecoder();
    for await (const chunk of child.stdout) {
      output += decoder.decode(chunk, { stream: true });
      if (output.includes("a row") && !child.killed) child.kill(signal);
    }
    await child.exited;
    expect(readFileSync(join(cwd, kept), "utf8")).toContain('"a row"');
    if (signal === "SIGTERM") {
      expect(lastOf(output).parts.whole?.notes).toEqual(["ended by SIGTERM"]);
      expect(lastOf(output).parts["engine-7b"]).toMatchObject({ state: "failed", notes: ["it was cut off"] });
    }
    // The kernel ends what a killed run had started, a moment after it.
    while (isRunning(env.PID_FILE)) await Bun.sleep(1);
  },
  60_000,
);
