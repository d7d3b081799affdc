// A policy without an engine: a number that every update moves, and responses that are a pure function of it.
// Checkpoints are files, so that a killed and resumed run can be compared with an unbroken one bit for bit.
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { ResolvedRun } from "@gradus/config";
import type { PromptInput, RolloutBatch, RolloutInfo, RolloutOptions, StepMetrics } from "@gradus/rl";
import { checkpointSteps } from "../checkpoints.ts";
import type { PolicySource, RunPolicy } from "../run-policy.ts";

/** What a test can do to a scripted policy. */
export type Script = {
  readonly maxPositions?: number;
  /** What a policy decides where the run names no limit on activations; 64. */
  readonly activationBytes?: number;
  /** Called with every move that the policy makes, before it is made: `rollout`, `step`, `record`, `generate`, `checkpoint N`. */
  readonly onMove?: (move: string) => void | Promise<void>;
};

/** The share of [0, 1) that a text stands for. */
function share(text: string): number {
  return createHash("sha256").update(text).digest().readUInt32LE() / 2 ** 32;
}

/** A source of scripted policies whose weight starts at 0. */
export function scriptedPolicies(script: Script = {}): PolicySource {
  return {
    start: async (run) => scriptedPolicy(0, limited(script, run)),
    resume: async (checkpoints, run) => {
      const step = checkpointSteps(checkpoints).at(-1);
      if (step === undefined) throw new Error("no whole checkpoint");
      const folder = join(checkpoints, `step-${step}`);
      const weight = Number(readFileSync(join(folder, "weight"), "utf8"));
      const recipeState: unknown = JSON.parse(readFileSync(join(folder, "recipe.json"), "utf8"));
      return { policy: scriptedPolicy(weight, limited(script, run)), recipeState, step, folder, warnings: [] };
    },
    prune: async (checkpoints, keepLast, protectedSteps) => {
      const old = checkpointSteps(checkpoints).slice(0, -keepLast);
      const removed = old.filter((step) => !protectedSteps.includes(step));
      for (const step of removed) rmSync(join(checkpoints, `step-${step}`), { recursive: true });
      return removed;
    },
  };
}

function limited(script: Script, { activationBytesMax }: ResolvedRun): Script {
  return activationBytesMax === null ? script : { ...script, activationBytes: activationBytesMax };
}

/** A policy of one weight. The likelier a right answer is, the higher it stands; problems are sums like `3+4=`. */
export function scriptedPolicy(
  start: number,
  { maxPositions = 1000, activationBytes = 64, onMove }: Script = {},
): RunPolicy {
  let weight = start;
  // As in the engine, a checkpoint that is asked for during an update comes after it.
  let updated: Promise<unknown> = Promise.resolve();
  const move = async (name: string): Promise<void> => onMove?.(name);
  return {
    info: { architecture: "Scripted", parameters: 1, maxPositions, eosTokenIds: [0] },
    rollout: async (prompts, options) => {
      options.signal?.throwIfAborted();
      await move("rollout");
      const rollouts = scriptedRollouts(prompts, options, weight);
      const responseTokens = rollouts.reduce((sum, { length }) => sum + length, 0);
      return scriptedBatch(rollouts, responseTokens, move);
    },
    batch: async ({ tokens }) => ({ tokens: tokens.length, close: () => {} }),
    step: (batch, { weights, learningRate }) => {
      const update = async (): Promise<StepMetrics> => {
        await move("step");
        const gradient = weights.reduce((sum, value) => sum + Math.abs(value), 0);
        weight += learningRate * gradient;
        const moved = { loss: 1 / (1 + weight), gradNorm: gradient, entropy: 0.3, logprobAbsDiffMax: 0 };
        return { ...moved, tokens: batch.tokens, trainedTokens: batch.tokens, skipped: null, seconds: 0.001 };
      };
      const step = update();
      updated = step.catch(() => {});
      return step;
    },
    generate: async (prompts, { n, seed, purpose, signal }) => {
      signal?.throwIfAborted();
      await move("generate");
      return prompts.map((prompt) =>
        Array.from({ length: n }, (_, index) => {
          const { text, length } = respond(prompt, `${purpose} ${seed} ${index}`, weight);
          return { text, tokens: new Uint32Array(length), finishReason: "stop" as const };
        }),
      );
    },
    tokenize: async (text) => Uint32Array.from(text, (character) => character.codePointAt(0) ?? 0),
    planMemory: async ({ isSampled }) => ({
      ...{ weights: 4, gradients: 4, optimizer: 8, activations: 16, kvPages: isSampled ? 32 : 0, scratch: 2 },
      ...{ total: isSampled ? 46 : 34, activationsMax: activationBytes },
      ...{ gateUpRecomputed: 0, layersRecomputed: 0 },
    }),
    applyChatTemplate: async (messages) => messages.map(({ content }) => content).join("\n"),
    checkpoint: async (folder, step, recipeState) => {
      const state = JSON.stringify(recipeState);
      await updated;
      await move(`checkpoint ${step}`);
      const place = join(folder, `step-${step}`);
      const temporary = join(folder, `.step-${step}`);
      rmSync(temporary, { recursive: true, force: true });
      mkdirSync(temporary, { recursive: true });
      writeFileSync(join(temporary, "weight"), `${weight}`);
      writeFileSync(join(temporary, "recipe.json"), state);
      rmSync(place, { recursive: true, force: true });
      renameSync(temporary, place);
      return place;
    },
    close: async () => {},
  };
}

/** What a policy of `weight` answers in a random stream. */
function respond(prompt: PromptInput, stream: string, weight: number): { text: string; length: number } {
  const problem = typeof prompt === "object" && "text" in prompt ? prompt.text : String(prompt);
  const [left = 0, right = 0] = problem.split(/[+=]/).map(Number);
  const solved = share(`${problem} ${stream} ${weight}`) < 1 / (1 + Math.exp(-weight));
  const text = `${left + right + (solved ? 0 : 1)}`;
  return { text, length: 1 + Math.floor(4 * share(`length ${stream} ${weight}`)) };
}

function scriptedRollouts(
  prompts: readonly PromptInput[],
  { seed, stage, step, ids, groupSize, maxResponseLength }: RolloutOptions,
  weight: number,
): RolloutInfo[] {
  return prompts.flatMap((prompt, promptIndex) =>
    Array.from({ length: groupSize }, (_, rolloutIndex) => {
      const stream = `${seed} ${stage} ${step} ${ids?.[promptIndex]} ${rolloutIndex}`;
      const { text, length } = respond(prompt, stream, weight);
      const finishReason = length > maxResponseLength ? "length" : "stop";
      const entropy = share(`entropy ${stream} ${weight}`);
      const place = { promptIndex, rolloutIndex, promptLength: 4 };
      return { ...place, text, length, finishReason, entropy, entropyRaw: entropy };
    }),
  );
}

function scriptedBatch(
  rollouts: readonly RolloutInfo[],
  responseTokens: number,
  move: (name: string) => Promise<void>,
): RolloutBatch {
  return {
    rollouts,
    responseTokens,
    tokens: responseTokens + 4 * rollouts.length,
    entropy: 0.3,
    entropyRaw: 0.3,
    record: async (file, { scores }) => {
      await move("record");
      writeFileSync(file, scores);
    },
    close: () => {},
  };
}
