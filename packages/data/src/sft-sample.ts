// SFT samples: the text before and after the border where the loss begins, as a frame wants it.
import { DataError } from "./data-error.ts";
import type { Frame } from "./frames.ts";
import type { Prompt, PromptText } from "./prompt.ts";

/** Loss is on `response` alone, its end token included. */
export type SftSample = { readonly id: string; readonly prompt: PromptText; readonly response: string };

const thoughtOpening = /^<think>\n?/;

/**
 * The sample of a prompt with a solution; `rendered` is the prompt under `frame`.
 * Under acereason a response with a closed thought is taken as it is (its opening is part of the prompt); a bare
 * solution gets `\n</think>\n\n\boxed{answer}`, and of a program the solution is the answer. Every response ends in `endToken`.
 */
export function sftSample(prompt: Prompt, rendered: PromptText, frame: Frame, endToken: string): SftSample {
  const { id, solution, answer, tests, place } = prompt;
  if (solution === undefined) throw new DataError("bad-sample", `${place}: no solution; SFT learns from it`);
  if (frame !== "acereason") return { id, prompt: rendered, response: withEnd(solution, endToken) };
  const thought = solution.replace(thoughtOpening, "");
  if (thought.includes("</think>")) return { id, prompt: rendered, response: withEnd(thought, endToken) };
  if (tests !== undefined) return { id, prompt: rendered, response: `\n</think>\n\n${withEnd(thought, endToken)}` };
  if (answer === undefined) {
    throw new DataError("bad-sample", `${place}: no answer to put in the box that the frame acereason asks for`);
  }
  return { id, prompt: rendered, response: `${thought}\n</think>\n\n\\boxed{${answer}}${endToken}` };
}

function withEnd(response: string, endToken: string): string {
  return response.endsWith(endToken) ? response : `${response}${endToken}`;
}
