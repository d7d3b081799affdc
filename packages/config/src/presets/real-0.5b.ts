// Real input at a real shape on the CPU: a Qwen2.5-0.5B folder (--model) and MATH (--data), a few steps of each phase.
import type { ConfigInput } from "../config-input.ts";

export const real05b = {
  name: "real-0.5b",
  frame: "acereason",
  reward: "math",
  microBatchTokens: 1024,
  sft: { steps: 3, batchSize: 4, maxSampleTokens: 512, learningRate: 1e-5, schedule: "constant" },
  rl: {
    promptsPerStep: 4,
    groupSize: 4,
    maxResponseLength: 64,
    // 64 tokens never reach a boxed answer, so that with filtering every rollout would leave the batch.
    overlongFiltering: "off",
    stages: [{ name: "math", end: { steps: 2 } }],
  },
  // An evaluation of any use (hundreds of problems, thousands of tokens each) takes hours at this size on a CPU:
  // switch it on with `--data.eval FILE --eval '{"task":"math-500","n":4,"maxTokens":4096}'`.
  eval: false,
  checkpoint: { everySteps: 1, keepLast: 2 },
} satisfies ConfigInput;
