// The data of a run, read once: prompts rendered under the run's frame, every row checked before the first step.
import { basename } from "node:path";
import { ConfigError, type ResolvedRun } from "@gradus/config";
import {
  aceReasonStops,
  type Frame,
  type Prompt,
  type PromptText,
  readDataset,
  renderPrompt,
  sftSample,
  type TokenizedSample,
  tokenizeSamples,
} from "@gradus/data";
import type { RunPolicy } from "./run-policy.ts";

/** A prompt and what of it the policy sees. */
export type RenderedPrompt = Prompt & { readonly rendered: PromptText };

type Note = (text: string) => void;

/** The prompts of `file` under `frame`. `need` is the field that every row must have. @throws DataError */
export async function loadPrompts(
  file: string,
  need: "answer" | "solution",
  { frame, policy, note, limit }: { frame: Frame; policy: RunPolicy; note: Note; limit?: number | null },
): Promise<RenderedPrompt[]> {
  const { prompts, adapter, leftOut } = await readDataset(file, { need, ...(limit != null && { limit }) });
  note(`${prompts.length} rows of ${basename(file)}, read as ${adapter.fields}`);
  for (const reason of leftOut) note(reason);
  const rendered: RenderedPrompt[] = [];
  for (const prompt of prompts) rendered.push({ ...prompt, rendered: await render(prompt, frame, policy) });
  return rendered;
}

async function render(prompt: Prompt, frame: Frame, policy: RunPolicy): Promise<PromptText> {
  if (frame !== "chat-template") return renderPrompt(prompt, frame);
  // The policy applies templates on its own thread, so the text is asked for first and handed in after.
  const messages = prompt.messages ?? [{ role: "user" as const, content: prompt.text ?? "" }];
  const text = await policy.applyChatTemplate(messages);
  return renderPrompt(prompt, frame, () => text);
}

/** Strings at which a response ends beside the policy's own end tokens. */
export function stopsOf(frame: Frame): readonly string[] {
  return frame === "acereason" ? aceReasonStops : [];
}

/**
 * The SFT samples as token ids. Under acereason a response ends in `<|im_end|>`, else in the policy's first end token.
 * @throws ConfigError when no sample is short enough.
 */
export async function loadSamples(
  prompts: readonly RenderedPrompt[],
  run: ResolvedRun,
  maxTokens: number,
  policy: RunPolicy,
  note: Note,
): Promise<TokenizedSample[]> {
  const [endId] = policy.info.eosTokenIds;
  const inText = run.frame === "acereason";
  const samples = prompts.map((prompt) =>
    sftSample(prompt, prompt.rendered, run.frame, inText ? aceReasonStops[0] : ""),
  );
  const room = inText || endId === undefined ? 0 : 1;
  const result = await tokenizeSamples(samples, (text, options) => policy.tokenize(text, options), maxTokens - room);
  if (result.dropped > 0)
    note(`${result.dropped} of ${samples.length} SFT samples have more than ${maxTokens} tokens and are left out`);
  if (result.samples.length === 0)
    throw new ConfigError(`sft.maxSampleTokens: every sample has more than ${maxTokens} tokens; raise it`);
  return room === 0 || endId === undefined ? result.samples : result.samples.map((sample) => withEnd(sample, endId));
}

function withEnd(sample: TokenizedSample, endId: number): TokenizedSample {
  const tokens = new Uint32Array(sample.tokens.length + 1);
  tokens.set(sample.tokens);
  tokens[sample.tokens.length] = endId;
  return { ...sample, tokens };
}

/**
 * Refuses a limit that does not fit into the policy's context together with the longest prompt.
 * @param field the limit's name in the config, for the message.
 */
export async function checkContext(
  field: string,
  limit: number,
  prompts: readonly RenderedPrompt[],
  policy: RunPolicy,
): Promise<void> {
  const context = policy.info.maxPositions;
  const refuse = (reason: string): never => {
    throw new ConfigError(
      `${field}: ${limit} tokens do not fit the policy's context of ${context} (max_position_embeddings)${reason}`,
    );
  };
  if (limit >= context) refuse(`; use less, a prompt needs room too`);
  const encoder = new TextEncoder();
  for (const { rendered, place } of prompts) {
    // No token is shorter than a byte, so only a prompt of many bytes needs to be counted exactly.
    if (encoder.encode(rendered.text).length + limit <= context) continue;
    const { length } = await policy.tokenize(rendered.text, { addSpecial: rendered.addSpecial });
    if (length + limit > context)
      refuse(` after the prompt of ${length} tokens at ${place}; use at most ${context - length}, or drop the prompt`);
  }
}

/** Tokens of the prompt that is the longest text: near enough to the most tokens to know the memory that they need. */
export async function longestPromptTokens(prompts: readonly RenderedPrompt[], policy: RunPolicy): Promise<number> {
  const longest = prompts.reduce<RenderedPrompt["rendered"] | null>(
    (longest, { rendered }) => (longest === null || rendered.text.length > longest.text.length ? rendered : longest),
    null,
  );
  if (longest === null) return 0;
  return (await policy.tokenize(longest.text, { addSpecial: longest.addSpecial })).length;
}
