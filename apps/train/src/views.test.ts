// How a run looks: lines, blocks, tables, JSON.
import { expect, test } from "bun:test";
import type { EvalResult, RunEvent, StepEvent, Summary } from "./events.ts";
import { duration, oneLine, percent, short, sparkline } from "./format.ts";
import { jsonView } from "./json-view.ts";
import { liveView, type Redraw } from "./live-view.ts";
import { plainView } from "./plain-view.ts";
import { reportText } from "./report.ts";

const step: StepEvent = {
  type: "step",
  stage: "rl:short",
  step: 112,
  stageStep: 12,
  stageSteps: 60,
  limit: 40,
  metrics: {
    "critic/score/mean": 0.4375,
    "actor/entropy": 0.28125,
    "response_length/mean": 21.5,
    "response_length/clip_ratio": 0.125,
    "perf/gen_tokens_per_s": 15234.5,
    "timing_s/step": 0.5,
  },
};
const sample = { prompt: "37+5=", answer: "42", response: "37+5=42 42", correct: true };
const before: EvalResult = {
  phase: "sft",
  step: 100,
  task: "sums",
  metric: "mean@8",
  value: 0.5,
  n: 256,
  length: 12.25,
  samples: [sample, { ...sample, response: "43", correct: false }],
};
const after: EvalResult = {
  ...before,
  phase: "rl:short",
  step: 160,
  value: 0.875,
  length: 30,
  samples: [sample, sample],
};
const summary: Summary = {
  run: "20261121-104233-tiny",
  phases: [],
  steps: 160,
  tokens: 1234567,
  wall_s: 185,
  peak_memory_gib: 0.25,
  logprob_abs_diff_max: 0,
  checkpoint: "/runs/x/checkpoints/step-160",
};

function shown(
  events: readonly RunEvent[],
  open: (write: (text: string) => void) => { show(event: RunEvent): void },
): string {
  let text = "";
  const view = open((piece) => {
    text += piece;
  });
  for (const event of events) view.show(event);
  return text;
}

test("numbers, durations and curves are short", () => {
  expect([short(0), short(1234567), short(0.043219), short(3.2e-7)]).toEqual(["0", "1,234,567", "0.0432", "3.20e-7"]);
  expect([duration(8.4), duration(185), duration(7383)]).toEqual(["8 s", "3:05", "2:03:03"]);
  expect(percent(0.4375)).toBe("43.8 %");
  expect(oneLine("a\nb", 9)).toBe("a⏎b");
  expect(oneLine("abcdef", 4)).toBe("abc…");
  expect(sparkline([0, 1, 2, 3], 4)).toBe("▁▃▆█");
  expect(sparkline([1, 1], 4)).toBe("▁▁");
  expect(
    sparkline(
      Array.from({ length: 100 }, (_, index) => index),
      5,
    ).length,
  ).toBe(5);
});

test("the memory of a phase is one plain line", () => {
  const plan = {
    ...{ weights: 2 ** 30, gradients: 2 ** 31, optimizer: 2 ** 32, activations: 2 ** 29, kvPages: 3 * 2 ** 30 },
    ...{ scratch: 2 ** 27, total: 10.125 * 2 ** 30, activationsMax: 2 ** 30, layersRecomputed: 0, gateUpRecomputed: 6 },
  };
  expect(shown([{ type: "memory", phase: "rl:short", ...plan }], plainView)).toBe(
    "memory rl:short  weights 1.00 GiB · gradients 2.00 · optimizer 4.00 · activations 0.50 (gate and up of 6 layers computed again) · KV pages 3.00 in turn with gradients and activations · scratch 0.13 · at most 10.13 GiB\n",
  );
  const small = { ...plan, kvPages: 0, layersRecomputed: 2, total: 3 * 2 ** 20 };
  expect(shown([{ type: "memory", phase: "sft", ...small }], plainView)).toContain(
    "(2 layers and gate and up of 6 layers computed again) · scratch 128.00 · at most 3.00 MiB",
  );
});

test("a step is one plain line", () => {
  expect(shown([step], plainView)).toBe(
    "rl:short 12/60  reward 0.438  entropy 0.281  length 21.5/40  truncated 12.5 %  rollout 15,235 tokens/s  step 0.5 s  left 24 s\n",
  );
});

test("the summary is a table with one problem before and after", () => {
  expect(
    shown([{ type: "summary", summary, evals: [before, after] }], plainView),
  ).toBe(`run 20261121-104233-tiny: 160 steps, 1,234,567 tokens, 3:05, peak memory 0.25 GiB, largest logprob difference 0

phase     mean@8  gain   length  problems  task
sft       50.0 %         12.3    256       sums
rl:short  87.5 %  +37.5  30.0    256       sums

the held-back problem that was learnt last, of the first 2: 37+5=   (answer 42)
  sft       wrong  43
  rl:short  right  37+5=42 42

checkpoint /runs/x/checkpoints/step-160
`);
});

test("the first lines say what will happen", () => {
  const phases = [
    { name: "sft", steps: 4000 },
    { name: "rl:short", steps: null },
  ];
  const run = {
    type: "run",
    run: "r",
    recipe: "tiny",
    folder: "/runs/r",
    parameters: 590_000,
    resumedAt: null,
  } as const;
  expect(shown([{ ...run, phases, evaluation: "sums mean@8" }], plainView)).toBe(`run r: tiny, 0.59 M parameters
    sft 4000 steps, then rl:short; sums mean@8 at the start and after each
    /runs/r: config.json, checkpoints, rollouts, report.md at the end
`);
  expect(shown([{ ...run, phases, evaluation: "sums mean@8", resumedAt: 7 }], plainView)).toContain(
    "resumed after step 7\n    sft 4000 steps, then rl:short; sums mean@8 after each\n",
  );
});

test("of SFT's steps one in 25 is a plain line, in JSON every one", () => {
  const steps = Array.from(
    { length: 60 },
    (_, index): StepEvent => ({ ...step, stage: "sft", limit: null, stageStep: index + 1 }),
  );
  const told = shown(steps, plainView)
    .split("\n")
    .map((line) => line.split("  ")[0]);
  expect(told).toEqual(["sft 1/60", "sft 25/60", "sft 50/60", "sft 60/60", ""]);
  expect(shown(steps, jsonView).split("\n").length).toBe(61);
});

test("JSON is one object a line, metrics flat in a step", () => {
  const lines = shown([step, { type: "eval", seconds: 1, ...after }, { type: "summary", summary, evals: [] }], jsonView)
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));
  expect(lines[0]).toEqual({ type: "step", stage: "rl:short", step: 112, ...step.metrics });
  expect(lines[1]).toMatchObject({ type: "eval", phase: "rl:short", metric: "mean@8", value: 0.875 });
  expect(lines[2]).toEqual({ type: "summary", ...summary });
});

test("the live block shows curves in place and lets evaluations stand", () => {
  const drawn: string[] = [];
  const standing: string[] = [];
  const redraw: Redraw = Object.assign((text: string) => void drawn.push(text), {
    persist: (...text: string[]) => void standing.push(...text),
    clear: () => {},
    done: () => {},
  });
  let now = 0;
  const view = liveView(redraw, { columns: () => 72, memoryGib: () => 0.5, now: () => now });
  view.show({
    type: "run",
    run: "r",
    recipe: "tiny",
    folder: "/runs/r",
    parameters: 600_000,
    phases: [{ name: "rl:short", steps: 60 }],
    evaluation: null,
    resumedAt: null,
  });
  view.show({ type: "phase", phase: "rl:short", steps: 60 });
  for (let at = 1; at <= 12; at++) {
    now += 100;
    view.show({ ...step, stageStep: at, metrics: { ...step.metrics, "critic/score/mean": at / 12 } });
  }
  view.show({ type: "sample", stage: "rl:short", prompt: "1+2=", response: "3", score: 1 });
  view.show({ type: "eval", seconds: 2, ...after });
  const block = drawn.at(-1) ?? "";
  expect(block).toContain("rl:short 12/60 · step 112 · left 24 s");
  expect(block).toMatch(/reward +1 +▁[▁-█]{10}█/);
  expect(block).toMatch(/entropy +0\.281 \(aim 0\.3\)/);
  expect(block).toContain("1+2= → 3 (1)");
  for (const line of block.split("\n")) expect(line.length).toBeLessThanOrEqual(72);
  expect(standing.join("\n")).toContain("evaluation rl:short  sums mean@8 87.5 %");
});

test("the report has the table, curves and samples", () => {
  const rows = [1, 2, 3].map((at) => ({ step: at, phase: "sft", metrics: { "train/loss": 1 / at } }));
  const text = reportText(summary, [before, after], rows, new Map());
  expect(text).toContain("| rl:short | 87.5 % | +37.5 | 30.0 | 256 | sums |");
  expect(text).toContain("| loss | 1 | 0.333 | █▃▁ |");
  expect(text).not.toContain("faults");
  const faulty = [0, 2].map((faults, at) => ({ step: at, phase: "rl:short", metrics: { "reward/fault": faults } }));
  expect(reportText(summary, [], faulty, new Map())).toContain("| faults | 0 | 2 | ▁█ |");
  expect(text).toContain("After `rl:short` (right):\n\n```text\n37+5=42 42\n```");
});
