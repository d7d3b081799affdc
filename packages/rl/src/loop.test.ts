import { expect, test } from "bun:test";
import { grpoLoop } from "./loop.ts";
import { type GrpoOptions, startLoop } from "./loop-options.ts";
import type { StepRecord } from "./metrics.ts";
import type {
  FinishReason,
  RolloutBatch,
  RolloutColumns,
  StepMetrics,
  StepOptions,
  TrainablePolicy,
} from "./policy.ts";

type Prompt = { id: string; answer: string; source?: string };
type Response = { text: string; length: number; finishReason?: FinishReason };

const moved: StepMetrics = {
  loss: -0.25,
  gradNorm: 0.5,
  entropy: 0.7,
  logprobAbsDiffMax: 0,
  tokens: 40,
  trainedTokens: 30,
  skipped: null,
  seconds: 2,
};

/** A policy that answers from a script: responses[step][prompt][rollout]. */
function scriptedPolicy(responses: Response[][][], updates: Partial<StepMetrics>[] = []) {
  const steps: StepOptions[] = [];
  const rolloutCalls: { step: number | undefined; ids: readonly string[] | undefined }[] = [];
  let closed = 0;
  const policy: TrainablePolicy = {
    rollout: async (_prompts, options) => {
      const groups = responses[rolloutCalls.length];
      if (!groups) throw new Error("the script is over: the loop should have ended");
      rolloutCalls.push({ step: options.step, ids: options.ids });
      const rollouts = groups.flatMap((group, promptIndex) =>
        group.map(({ text, length, finishReason = "stop" }, rolloutIndex) => {
          return {
            promptIndex,
            rolloutIndex,
            text,
            promptLength: 3,
            length,
            finishReason,
            entropy: 0.4,
            entropyRaw: 0.5,
          };
        }),
      );
      const responseTokens = rollouts.reduce((total, { length }) => total + length, 0);
      const batch: RolloutBatch = {
        rollouts,
        responseTokens,
        tokens: responseTokens + 3 * rollouts.length,
        entropy: 0.4,
        entropyRaw: 0.5,
        record: async () => {},
        close: () => closed++,
      };
      return batch;
    },
    batch: () => Promise.reject(new Error("not used")),
    step: async (_batch, options) => {
      steps.push(options);
      return { ...moved, ...updates[steps.length - 1] };
    },
  };
  return { policy, steps, rolloutCalls, closed: () => closed };
}

const prompts: Prompt[] = [
  { id: "a", answer: "1" },
  { id: "b", answer: "2" },
];

function options(policy: TrainablePolicy, changes: Partial<GrpoOptions<Prompt>> = {}): GrpoOptions<Prompt> {
  let now = 0;
  return {
    policy,
    prompts: { take: (cursor, count) => ({ items: prompts.slice(0, count), epoch: 0, nextCursor: cursor + count }) },
    promptInput: ({ id }) => `${id}=`,
    judge: async ({ prompt, text }) =>
      text === "broken"
        ? { status: "fault", reason: "judge died" }
        : text === prompt.answer
          ? { status: "graded", score: 1, kind: "correct" }
          : { status: "graded", score: 0, kind: "wrong" },
    seed: 1,
    stage: 0,
    promptsPerStep: 2,
    groupSize: 2,
    maxResponseLength: 8,
    temperature: 1,
    overlongFiltering: "exclude",
    dropZeroVariance: true,
    lossAggMode: "group-token-mean",
    advantageStd: "none",
    optimizer: { learningRate: (step) => 1 / (step + 1), maxGradNorm: 1 },
    end: { steps: 1 },
    maxSkippedInARow: 2,
    state: startLoop(),
    clock: () => now++,
    ...changes,
  };
}

async function collect(loop: AsyncGenerator<StepRecord, string>): Promise<{ records: StepRecord[]; end: string }> {
  const records: StepRecord[] = [];
  for (;;) {
    const next = await loop.next();
    if (next.done) return { records, end: next.value };
    records.push(next.value);
  }
}

const mixed: Response[][] = [
  [
    { text: "1", length: 2 },
    { text: "7", length: 6 },
  ],
  [
    { text: "2", length: 4 },
    { text: "2", length: 4 },
  ],
];

test("a step: weights of the group with variance, record, columns, closed batch", async () => {
  const { policy, steps, rolloutCalls, closed } = scriptedPolicy([mixed]);
  const columns: unknown[] = [];
  const { records, end } = await collect(
    grpoLoop(options(policy, { record: async (_batch, given, drawn) => void columns.push({ ...given, ...drawn }) })),
  );
  expect(end).toBe("steps");
  expect(rolloutCalls).toEqual([{ step: 0, ids: ["a", "b"] }]);
  // One group is left: advantages 0.5 and −0.5 over 1 · (2 + 6) tokens.
  expect(steps).toEqual([{ weights: new Float32Array([1 / 16, -1 / 16, 0, 0]), learningRate: 1, maxGradNorm: 1 }]);
  expect(columns).toEqual([
    {
      scores: new Float32Array([1, 0, 1, 1]),
      kinds: ["correct", "wrong", "correct", "correct"],
      details: [null, null, null, null],
      advantages: new Float32Array([0.5, -0.5, 0, 0]),
      items: prompts,
      epoch: 0,
      step: 0,
    },
  ]);
  expect(closed()).toBe(1);
  expect(records[0]).toMatchObject({
    "critic/score/mean": 0.75,
    "critic/advantages/max": 0.5,
    "critic/advantages/min": -0.5,
    "reward/correct": 3,
    "reward/wrong": 1,
    "reward/no_answer": 0,
    frac_reward_zero_std: 0.5,
    "batch/pct_0": 0,
    "batch/pct_1": 0.5,
    "batch/pct_mixed": 0.5,
    "batch/dropped_zero_std": 1,
    "response_length/mean": 4,
    "response_length/clip_ratio": 0,
    "prompt_length/mean": 3,
    "actor/entropy": 0.4,
    "actor/entropy_raw": 0.5,
    "actor/pg_loss": -0.25,
    "actor/grad_norm": 0.5,
    "actor/lr": 1,
    train_rollout_logprob_abs_diff: 0,
    "training/global_step": 1,
    "training/epoch": 0,
    "training/stage": 0,
    "training/skipped_steps": 0,
    // The clock counts its calls: started 0, generated 1, judged from 2 to 3, rewarded 4, weighted 5, updated 6, end 7.
    "timing_s/gen": 1,
    "timing_s/judging": 1,
    "timing_s/reward": 3,
    "timing_s/step": 7,
    "perf/gen_tokens_per_s": 16,
    "perf/throughput": 28 / 7,
    "perf/train_tokens_per_s": 20,
  });
});

test("scores are told by source, verdicts by the sandbox's tier; nothing of either where there is none", async () => {
  const { policy } = scriptedPolicy([mixed, mixed]);
  const source = (id: string) => (id === "a" ? "math" : "code");
  const told = prompts.map((prompt) => ({ ...prompt, source: source(prompt.id) }));
  const judge: GrpoOptions<Prompt>["judge"] = async ({ prompt, text }) => {
    const tier = prompt.source === "code" ? ({ tier: "A" } as const) : {};
    return { status: "graded", score: text === prompt.answer ? 1 : 0, kind: "correct", ...tier };
  };
  const take: GrpoOptions<Prompt>["prompts"]["take"] = (cursor, count) => {
    return { items: cursor === 0 ? told : prompts, epoch: 0, nextCursor: cursor + count };
  };
  const { records } = await collect(grpoLoop(options(policy, { prompts: { take }, judge, end: { steps: 2 } })));
  expect(records[0]).toMatchObject({
    "reward/source/math/mean": 0.5,
    "reward/source/code/mean": 1,
    "reward/tier_A": 2,
  });
  expect(Object.keys(records[1] ?? {}).filter((name) => /source|tier/.test(name))).toEqual([]);
});

test("a batch without weight is skipped: no update, no update metrics, the prompts are spent", async () => {
  const equal = mixed.map(() => [
    { text: "7", length: 1 },
    { text: "7", length: 1 },
  ]);
  const { policy, steps } = scriptedPolicy([equal, equal, equal]);
  const state = startLoop();
  const { records } = await collect(grpoLoop(options(policy, { state, end: { steps: 3 } })));
  expect(steps).toHaveLength(0);
  expect(records.map((record) => record["training/skipped_steps"])).toEqual([1, 2, 3]);
  expect(records[0]).not.toHaveProperty("actor/pg_loss");
  expect(state).toMatchObject({ step: 3, cursor: 6, skippedSteps: 3, skippedInARow: 0 });
});

test("truncated rollouts are not graded under exclude, and graded under off", async () => {
  const cut: Response[][] = [
    [
      { text: "1", length: 2 },
      { text: "7", length: 3 },
      { text: "1", length: 8, finishReason: "length" },
    ],
  ];
  for (const [overlongFiltering, correct, weight] of [
    ["exclude", 1, 0],
    ["off", 2, 1 / 3 / 13], // advantage 1 − 2/3 over 2 + 3 + 8 tokens of one group
  ] as const) {
    const { policy, steps } = scriptedPolicy([cut]);
    const { records } = await collect(
      grpoLoop(options(policy, { overlongFiltering, groupSize: 3, promptsPerStep: 1 })),
    );
    expect(records[0]?.["reward/correct"]).toBe(correct);
    expect(records[0]?.["response_length/clip_ratio"]).toBe(1 / 3);
    expect(steps[0]?.weights[2]).toBeCloseTo(weight, 7);
  }
});

test("a fault leaves the batch; a step of faults alone stops the run", async () => {
  const some: Response[][] = [
    [
      { text: "1", length: 2 },
      { text: "7", length: 2 },
      { text: "broken", length: 2 },
    ],
  ];
  const { policy, steps } = scriptedPolicy([some]);
  const columns: RolloutColumns[] = [];
  const record = async (_batch: RolloutBatch, given: RolloutColumns) => void columns.push(given);
  const { records } = await collect(grpoLoop(options(policy, { record })));
  expect(records[0]).toMatchObject({ "reward/fault": 1 });
  expect(columns[0]?.kinds[2]).toBe("fault");
  expect(columns[0]?.details).toEqual([null, null, "judge died"]);
  expect(steps[0]?.weights).toEqual(new Float32Array([1 / 8, -1 / 8, 0]));
  const all = scriptedPolicy([[[{ text: "broken", length: 1 }]]]);
  await expect(collect(grpoLoop(options(all.policy)))).rejects.toThrow(
    "failed on all 1 rollouts that a step judged: judge died",
  );
  const cut: Response = { text: "1", length: 8, finishReason: "length" };
  const judged = scriptedPolicy([[[cut, { text: "broken", length: 1 }]]]);
  await expect(collect(grpoLoop(options(judged.policy)))).rejects.toThrow("all 1 rollouts that a step judged");
  const unjudged = scriptedPolicy([[[cut, cut]]]);
  expect((await collect(grpoLoop(options(unjudged.policy)))).records).toHaveLength(1);
});

test("a logprob difference stops the run", async () => {
  const { policy, closed } = scriptedPolicy([mixed], [{ logprobAbsDiffMax: 1e-9 }]);
  await expect(collect(grpoLoop(options(policy)))).rejects.toThrow(
    "step 1: the trainer's logprobs differ from the sampler's by up to 1e-9",
  );
  expect(closed()).toBe(1);
});

test("updates that are not finite are counted and stop the run after two in a row", async () => {
  const bad = { skipped: "non-finite gradient", logprobAbsDiffMax: Number.NaN };
  const { policy } = scriptedPolicy([mixed, mixed, mixed, mixed, mixed], [bad, {}, bad, bad]);
  const records: StepRecord[] = [];
  const run = async () => {
    for await (const record of grpoLoop(options(policy, { end: { steps: 5 } }))) records.push(record);
  };
  await expect(run()).rejects.toThrow("2 updates in a row were not finite");
  expect(records.map((record) => record["training/skipped_steps"])).toEqual([1, 1, 2, 3]);
});

test("a stage goes on from its state as if it had never stopped", async () => {
  const script = [mixed, mixed, mixed, mixed];
  const whole = scriptedPolicy(script);
  const first = scriptedPolicy(script);
  const second = scriptedPolicy(script);
  const wholeRun = await collect(grpoLoop(options(whole.policy, { end: { steps: 4 } })));
  const state = startLoop();
  const firstRun = await collect(grpoLoop(options(first.policy, { state, end: { steps: 1 } })));
  const resumed = JSON.parse(JSON.stringify(state));
  const secondRun = await collect(grpoLoop(options(second.policy, { state: resumed, end: { steps: 4 } })));
  const timeless = (record: StepRecord) =>
    Object.fromEntries(Object.entries(record).filter(([name]) => !/^(timing_s|perf)\//.test(name)));
  expect([...firstRun.records, ...secondRun.records].map(timeless)).toEqual(wholeRun.records.map(timeless));
  expect(second.rolloutCalls.map(({ step }) => step)).toEqual([1, 2, 3]);
});

test("a stage ends when its prompts run out, and on a plateau", async () => {
  const none = scriptedPolicy([]);
  const over = await collect(grpoLoop(options(none.policy, { prompts: { take: () => undefined }, end: {} })));
  expect(over).toEqual({ records: [], end: "prompts-exhausted" });
  const flat = scriptedPolicy([mixed, mixed, mixed, mixed, mixed]);
  const plateau = { window: 2, minGain: 0.01 };
  const { records, end } = await collect(grpoLoop(options(flat.policy, { end: { plateau } })));
  expect(end).toBe("plateau");
  expect(records).toHaveLength(4);
});

test("settings that cannot work are refused by name", async () => {
  const { policy } = scriptedPolicy([]);
  const start = (changes: Partial<GrpoOptions<Prompt>>) => grpoLoop(options(policy, changes)).next();
  await expect(start({ groupSize: 1 })).rejects.toThrow("groupSize 1: expected an integer of at least 2");
  await expect(start({ temperature: 0 })).rejects.toThrow("temperature 0: expected above 0");
  await expect(start({ promptsPerStep: 0 })).rejects.toThrow("promptsPerStep 0");
});
