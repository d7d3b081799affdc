// `bun run generate MODEL|RUN "prompt"`: talk to a folder, or to what a run trained, in the frame it was trained in.
import { existsSync, statSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { type ResolvedRun, RunConfig } from "@gradus/config";
import { aceReasonStops, type Frame, renderPrompt } from "@gradus/data";
import type { Message, PromptInput } from "@gradus/rl";
import type { z } from "zod";
import { checkpointSteps } from "./checkpoints.ts";
import { exitCodeOf, exitCodesHelp, explainError } from "./explain-error.ts";
import { describeFlags, type Flag, parseFlags, policyFlags } from "./flags.ts";
import { findRunFolder, readRunConfig } from "./run-folder.ts";
import type { Response } from "./run-policy.ts";
import { UsageError } from "./usage-error.ts";

const flags: readonly Flag[] = [
  { name: "n", value: "N", help: "responses (default: 1, streamed)" },
  { name: "temperature", value: "T", help: "0 takes the likeliest token (default: 0.6, or the run's evaluation's)" },
  { name: "max-tokens", value: "N", help: "limit of a response (default: 512, or the run's evaluation's)" },
  { name: "seed", value: "N", help: "the seed of the random numbers (default: 1)" },
  {
    name: "frame",
    value: "NAME",
    help: "acereason, chat-template or raw (default: the run's, chat-template for a folder)",
  },
  ...policyFlags,
  { name: "json", help: "one JSON object a response" },
  { name: "help", help: "this page" },
];

const help = `bun run generate MODEL|RUN "prompt" [flags]: MODEL is a Hugging Face folder, RUN a run's id or last

${describeFlags(flags)}
Device, dtype and threads are the run's where none are given.

${exitCodesHelp}`;

export type SamplingOptions = {
  readonly n: number;
  readonly maxTokens: number;
  readonly temperature: number;
  readonly seed: number;
  readonly stop?: readonly string[];
};

/** What the verb asks of a policy. */
export type SpeakingPolicy = {
  generate(prompts: readonly PromptInput[], options: SamplingOptions): Promise<Response[][]>;
  stream(prompt: PromptInput, options: Omit<SamplingOptions, "n">): AsyncIterable<string>;
  close(): Promise<void>;
};

export type PolicyPlace = Pick<ResolvedRun, "device" | "dtype" | "threads"> &
  Partial<Pick<ResolvedRun, "activationBytesMax" | "kvBytesMax">>;

export type GenerateEffects = {
  readonly cwd: string;
  readonly load: (folder: string, place: PolicyPlace) => Promise<SpeakingPolicy>;
  readonly writeOut: (text: string) => void;
  readonly writeError: (text: string) => void;
};

/** Runs the verb; gives the exit code. */
export async function generateCommand(argv: readonly string[], effects: GenerateEffects): Promise<number> {
  try {
    const { values, words } = parseFlags(argv, flags, false);
    if (values.has("help")) {
      effects.writeOut(`${help}\n`);
      return 0;
    }
    const [model, prompt, ...more] = words;
    if (model === undefined || prompt === undefined)
      throw new UsageError(`expected a model or run and a prompt: bun run generate last "37+5="`);
    if (more[0] !== undefined) throw new UsageError(`unexpected "${more[0]}": put the prompt in quotes`);
    await speak(model, prompt, values, effects);
    return 0;
  } catch (error) {
    effects.writeError(`${explainError(error)}\n`);
    // Whatever is wrong with a prompt shows when the policy reads it; nothing was done then either.
    return exitCodeOf(error, false);
  }
}

async function speak(
  model: string,
  prompt: string,
  values: ReadonlyMap<string, string>,
  { cwd, load, writeOut }: GenerateEffects,
): Promise<void> {
  const { folder, run } = findModel(model, resolve(cwd, values.get("out") ?? "runs"), cwd);
  const evaluation = run === null || run.eval === false ? null : run.eval;
  const number = (name: string, fallback: number, least: number): number => {
    const text = values.get(name);
    const value = text === undefined ? fallback : Number(text);
    if (
      text?.trim() === "" ||
      !Number.isFinite(value) ||
      value < least ||
      (name !== "temperature" && !Number.isInteger(value))
    )
      throw new UsageError(`--${name}: expected a number of at least ${least}, got "${text}"`);
    return value;
  };
  const sampling = {
    maxTokens: number("max-tokens", evaluation?.maxTokens ?? 512, 1),
    temperature: number("temperature", evaluation?.temperature ?? 0.6, 0),
    seed: number("seed", 1, 0),
  };
  const n = number("n", 1, 1);
  const frame = frameOf(values.get("frame") ?? run?.frame ?? "chat-template");
  const options = { ...sampling, ...(frame === "acereason" && { stop: aceReasonStops }) };
  const threads = values.has("threads") ? number("threads", 1, 1) : (run?.threads ?? null);
  const device = choice("device", RunConfig.shape.device, values, run?.device);
  const place = { device, dtype: choice("dtype", RunConfig.shape.dtype, values, run?.dtype), threads };
  const input = promptInput(prompt, frame);
  const policy = await load(folder, place);
  try {
    if (n === 1 && !values.has("json")) {
      for await (const text of policy.stream(input, options)) writeOut(text);
      writeOut("\n");
      return;
    }
    const [responses = []] = await policy.generate([input], { ...options, n });
    for (const [index, { text, tokens, finishReason }] of responses.entries()) {
      const object = { type: "response", index, text, tokens: tokens.length, finishReason };
      writeOut(values.has("json") ? `${JSON.stringify(object)}\n` : `[${index + 1}] ${text}\n`);
    }
  } finally {
    await policy.close();
  }
}

/** The Hugging Face folder that a name stands for, and the run that it comes from, if any. */
function findModel(name: string, runs: string, cwd: string): { folder: string; run: ResolvedRun | null } {
  const path = resolve(cwd, name);
  const isFolder = name !== "last" && existsSync(path) && statSync(path).isDirectory();
  if (isFolder && !existsSync(join(path, "checkpoints"))) {
    const owner = join(path, "..", "..", "config.json");
    const isCheckpoint = basename(dirname(path)) === "checkpoints" && existsSync(owner);
    return { folder: path, run: isCheckpoint ? readRunConfig(owner) : null };
  }
  if (!isFolder && name.includes("/"))
    throw new UsageError(`no folder ${path}: give a Hugging Face folder, a run's id, or last`);
  const run = isFolder ? findRunFolder(dirname(path), basename(path)) : findRunFolder(runs, name);
  const step = checkpointSteps(run.checkpoints).at(-1);
  if (step === undefined) throw new UsageError(`run ${run.id} has no checkpoint yet; let it reach its first one`);
  return { folder: join(run.checkpoints, `step-${step}`), run: readRunConfig(run.config) };
}

/** A flag that takes one of a config field's values; the run's where it is not given, else the field's default. */
function choice<T>(name: string, field: z.ZodType<T>, values: ReadonlyMap<string, string>, fallback: T | undefined): T {
  const given = values.get(name);
  const parsed = field.safeParse(given ?? fallback);
  if (parsed.success) return parsed.data;
  throw new UsageError(`--${name}: ${parsed.error.issues[0]?.message ?? "wrong value"}, got "${given}"`);
}

function frameOf(name: string): Frame {
  if (name === "acereason" || name === "chat-template" || name === "raw") return name;
  throw new UsageError(`--frame: expected acereason, chat-template or raw, got "${name}"`);
}

function promptInput(text: string, frame: Frame): PromptInput {
  const messages: Message[] = [{ role: "user", content: text }];
  return frame === "chat-template" ? messages : renderPrompt({ id: "prompt", text, place: "the prompt" }, frame);
}
