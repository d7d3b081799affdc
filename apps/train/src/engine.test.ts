// `bun run train` and `bun run generate` over the real engine: kills and resumes, wrong input, what is left behind.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { engineRecipe } from "./__fixtures__/engine-recipe.ts";
import { storedMetrics } from "./__fixtures__/scripted-run.ts";
import { removeTemporaryFolders } from "./__fixtures__/temporary-folder.ts";

type Outcome = { exitCode: number; stdout: string; stderr: string };

function start(program: string, folder: string, argv: readonly string[]) {
  const command = [process.execPath, join(import.meta.dirname, program), ...argv];
  return Bun.spawn(command, { cwd: folder, stdout: "pipe", stderr: "pipe" });
}

async function finish(program: string, folder: string, ...argv: string[]): Promise<Outcome> {
  const child = start(program, folder, argv);
  const [stdout, stderr] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  return { exitCode: await child.exited, stdout, stderr };
}

/** Checkpoints of the newest run in `folder`, by name. */
function checkpointsOf(folder: string): string {
  const id = readFileSync(join(folder, "runs", "last"), "utf8").trim();
  return join(folder, "runs", id, "checkpoints");
}

/** Weights and optimizer state of the last step, byte for byte. */
function lastBits(folder: string): string[] {
  const last = join(checkpointsOf(folder), "step-12");
  return ["model.safetensors", "optimizer.safetensors"].map((name) =>
    new Bun.CryptoHasher("sha256").update(readFileSync(join(last, name))).digest("hex"),
  );
}

/** Whether a GPU may be here: where it is, a run on it is no wrong input. */
const hasDriver = existsSync("/dev/nvidiactl");

const told = z.looseObject({ type: z.string(), step: z.number().default(0) });

let whole = "";
/** How long a run works that nothing breaks, from its first line to its end: of those seen, the shortest. */
let workMs = Number.POSITIVE_INFINITY;

afterAll(removeTemporaryFolders);

beforeAll(async () => {
  whole = engineRecipe();
  const child = start("main.ts", whole, ["--config", "engine.jsonc", "--json"]);
  const [stdout, stderr] = await Promise.all([killAt(child, null), new Response(child.stderr).text()]);
  expect([child.exitCode, stderr.includes("error")]).toEqual([0, false]);
  const summary = JSON.parse(stdout.trimEnd().split("\n").at(-1) ?? "");
  expect(summary).toMatchObject({ type: "summary", steps: 12, logprob_abs_diff_max: 0 });
  expect(summary.checkpoint).toBe(join(checkpointsOf(whole), "step-12"));
}, 120_000);

test("every step moves the policy, and the sampler's logprobs are the trainer's", () => {
  const { steps, evals } = storedMetrics(whole);
  expect([steps.length, evals.length]).toEqual([12, 4]);
  for (const { phase, metrics } of steps) {
    expect(metrics["actor/grad_norm"]).toBeGreaterThan(0);
    if (phase !== "sft") expect(metrics.train_rollout_logprob_abs_diff).toBe(0);
  }
});

/**
 * When a run is killed: at its first line of a type that tells of a step or a later one, since a kill that is slow lets the
 * run go past its step; or when it has worked for a share of the unbroken run's time.
 */
type Moment = { readonly type: string; readonly step: number } | { readonly share: number };

const isReached = (moment: Moment | null, line: string) => {
  if (moment === null || "share" in moment) return false;
  const { type, step } = told.parse(JSON.parse(line));
  return type === moment.type && step >= moment.step;
};

/** Reads the child's output to its end and kills it at `moment`, if that comes before; gives the output. */
async function killAt(child: ReturnType<typeof start>, moment: Moment | null): Promise<string> {
  const kill = (): void => child.kill("SIGKILL");
  let timer: Timer | undefined;
  let began: number | undefined;
  const decoder = new TextDecoder();
  let [seen, line] = ["", ""];
  for await (const piece of child.stdout) {
    began ??= performance.now();
    const text = decoder.decode(piece, { stream: true });
    seen += text;
    const whole = (line + text).split("\n");
    line = whole.pop() ?? "";
    if (whole.some((line) => isReached(moment, line))) kill();
    if (moment !== null && "share" in moment) timer ??= setTimeout(kill, moment.share * workMs);
  }
  await child.exited;
  clearTimeout(timer);
  const isUnbroken = !isKilled(child) && (moment === null || "share" in moment);
  if (isUnbroken) workMs = Math.min(workMs, performance.now() - (began ?? 0));
  return seen;
}

const isKilled = (child: ReturnType<typeof start>) => child.signalCode === "SIGKILL";

/** A kill that comes after its run's end proves nothing: then all begins anew, until each has come in time. */
async function killAndCompare(moments: readonly Moment[]): Promise<void> {
  while ((await killsInTime(moments)) < moments.length);
}

/** Kills one run at each moment in turn, goes on after each, and compares its end with the unbroken run's; gives how many came in time. */
async function killsInTime(moments: readonly Moment[]): Promise<number> {
  const folder = engineRecipe();
  const goOn = (): ReturnType<typeof start> => {
    // A run that was killed before it had a folder is started again.
    const begun = existsSync(join(folder, "runs", "last"));
    return start("main.ts", folder, [...(begun ? ["--resume", "last"] : ["--config", "engine.jsonc"]), "--json"]);
  };
  let killed = 0;
  for (const moment of moments) {
    const child = goOn();
    await killAt(child, moment);
    if (isKilled(child)) killed++;
  }
  const last = goOn();
  const [stdout, stderr] = await Promise.all([new Response(last.stdout).text(), new Response(last.stderr).text()]);
  expect({ moments, exitCode: await last.exited, stderr }).toMatchObject({ moments, exitCode: 0 });
  expect(JSON.parse(stdout.trimEnd().split("\n").at(-1) ?? "")).toMatchObject({ type: "summary", steps: 12 });
  expect({ moments, ...storedMetrics(folder) }).toEqual({ moments, ...storedMetrics(whole) });
  expect({ moments, bits: lastBits(folder) }).toEqual({ moments, bits: lastBits(whole) });
  return killed;
}

const borders: readonly Moment[] = [
  { type: "step", step: 1 },
  { type: "step", step: 4 },
  { type: "checkpoint", step: 5 },
  { type: "step", step: 7 },
  { type: "eval", step: 9 },
  { type: "step", step: 10 },
];

test("kill -9 at steps and at borders, and resumed, gives the same bits", async () => {
  await killAndCompare(borders);
}, 240_000);

test("kill -9 at random moments, and resumed, gives the same bits", async () => {
  const full = process.env.GRADUS_TEST_FULL !== undefined;
  const random = Array.from({ length: full ? 10 : 3 }, (): Moment => ({ share: 0.9 * Math.random() }));
  for (const moment of full ? [...random, ...borders] : random) await killAndCompare([moment]);
}, 480_000);

test("a damaged newest checkpoint is set aside, and the run goes on from the one before", async () => {
  const folder = engineRecipe();
  cpSync(whole, folder, { recursive: true });
  const checkpoints = checkpointsOf(folder);
  truncateSync(join(checkpoints, "step-12", "model.safetensors"), 1000);
  const { exitCode, stderr } = await finish("main.ts", folder, "--resume", "last", "--json");
  expect(exitCode).toBe(0);
  expect(stderr).toMatch(/step-12 is damaged .* set aside as step-12\.damaged/);
  expect(lastBits(folder)).toEqual(lastBits(whole));
}, 120_000);

test("a checkpoint tells its origin, and a resume under another config warns", async () => {
  const folder = engineRecipe();
  cpSync(whole, folder, { recursive: true });
  const last = join(checkpointsOf(folder), "step-12");
  const manifest = JSON.parse(readFileSync(join(last, "manifest.json"), "utf8"));
  expect(manifest).toMatchObject({ config_hash: expect.stringMatching(/^[0-9a-f]{64}$/) });
  const config = join(checkpointsOf(folder), "..", "config.json");
  const same = await finish("main.ts", folder, "--resume", "last", "--json");
  expect([same.exitCode, same.stderr]).toEqual([0, expect.not.stringContaining("another config")]);
  writeFileSync(config, readFileSync(config, "utf8").replace('"keepRollouts": true', '"keepRollouts": false'));
  const { exitCode, stderr } = await finish("main.ts", folder, "--resume", "last", "--json");
  expect([exitCode, stderr]).toEqual([0, expect.stringMatching(/step-12 was written under another config/)]);
}, 120_000);

test("when every checkpoint is damaged, a resume names them and forgets nothing", async () => {
  const folder = engineRecipe();
  cpSync(whole, folder, { recursive: true });
  const checkpoints = checkpointsOf(folder);
  for (const name of readdirSync(checkpoints)) truncateSync(join(checkpoints, name, "model.safetensors"), 1000);
  for (const attempt of [1, 2]) {
    const { exitCode, stdout, stderr } = await finish("main.ts", folder, "--resume", "last", "--json");
    expect([attempt, exitCode, stdout]).toEqual([attempt, 2, ""]);
    expect(stderr).toMatch(/^error: \S+ no checkpoint is whole, .*: .*step-12\.damaged; start a new run.*\n$/);
  }
  expect(storedMetrics(folder)).toEqual(storedMetrics(whole));
}, 120_000);

test("generate talks to the run, the same for the same seed", async () => {
  const say = (...flags: string[]) => finish("generate.ts", whole, "last", "37+5=", "--max-tokens", "20", ...flags);
  const [first, again, other] = await Promise.all([say(), say(), say("--seed", "2", "--json", "--n", "3")]);
  expect([first.exitCode, first.stderr, first.stdout.endsWith("\n")]).toEqual([0, "", true]);
  expect(again.stdout).toBe(first.stdout);
  expect(
    other.stdout
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line).type),
  ).toEqual(Array(3).fill("response"));
}, 60_000);

test("wrong input is one line that names it, exit code 2, nothing left behind", async () => {
  const folder = engineRecipe();
  const good = join(checkpointsOf(whole), "step-12");
  for (const name of ["cut", "alien"]) {
    mkdirSync(join(folder, name));
    for (const file of ["config.json", "model.safetensors", "tokenizer.json"])
      cpSync(join(good, file), join(folder, name, file));
  }
  truncateSync(join(folder, "cut", "model.safetensors"), 5000);
  const config = JSON.parse(readFileSync(join(good, "config.json"), "utf8"));
  writeFileSync(
    join(folder, "alien", "config.json"),
    JSON.stringify({ ...config, architectures: ["MambaForCausalLM"], model_type: "mamba" }),
  );
  writeFileSync(
    join(folder, "rows.jsonl"),
    '{"prompt":"11+2=","answer":"13","solution":"13"}\n{"prompt":"11+3=","solution":"14"}\n',
  );
  const before = readdirSync(folder).sort();
  const cases: [string, RegExp][] = [
    ["--model missing", /missing/],
    ["--model cut", /cut\/model\.safetensors/],
    ["--model alien", /MambaForCausalLM.*Qwen/],
    ["--data rows.jsonl", /rows\.jsonl row 2: field "answer" is missing/],
    [
      "--rl.stages.1.maxResponseLength 64",
      /rl\.stages\.1\.maxResponseLength \(long\): 64 tokens do not fit the policy's context of 64/,
    ],
    ["--rl.groupSize 1", /group of one/],
    ["--reward missing.ts#score", /missing\.ts/],
    ...(hasDriver ? [] : [["--device cuda", /cuda/] satisfies [string, RegExp]]),
    ["--dtype f16", /dtype.*f16/],
    ["--dtype q8_0", /q8_0 is for inference only/],
  ];
  await Promise.all(
    cases.map(async ([argv, message]) => {
      const { exitCode, stdout, stderr } = await finish(
        "main.ts",
        folder,
        "--config",
        "engine.jsonc",
        ...argv.split(" "),
      );
      expect([argv, exitCode, stdout]).toEqual([argv, 2, ""]);
      expect(stderr).toMatch(/^error: [^\n]+\n$/);
      expect(stderr).toMatch(message);
      expect(stderr).not.toMatch(/this should not happen|\.ts:\d+/);
    }),
  );
  const generate = await finish("generate.ts", folder, "cut", "37+5=", "--frame", "raw");
  expect([generate.exitCode, generate.stdout, generate.stderr]).toEqual([2, "", expect.stringContaining("cut/model")]);
  expect(readdirSync(folder).sort()).toEqual(before);
  expect(existsSync(join(folder, "runs"))).toBe(false);
}, 120_000);

test("a limit on KV pages that no sequence fits into is told before the first step", async () => {
  const folder = engineRecipe();
  const given = ["--config", "engine.jsonc", "--kvBytesMax", "5000"];
  const { exitCode, stderr } = await finish("main.ts", folder, ...given);
  expect(stderr).toMatch(/^error: .*needs 8192 bytes of KV pages, the limit is 4096; raise kvBytesMax[^\n]*\n$/);
  expect([exitCode, existsSync(join(folder, "runs"))]).toEqual([1, false]);
}, 60_000);
