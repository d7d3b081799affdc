// A programming problem in the one form that is judged, whatever data set it came from.
import type { Tagged } from "../sandbox/tagged.ts";

/** The program reads `input` from stdin; what it prints must be `output` by LiveCodeBench's rule. */
export type StdinTest = { readonly input: string; readonly output: string };

/**
 * The function is called with `values`; what it returns must equal one of `accepted`. Tuples count as lists down to
 * `tupleDepth` levels: 1 is the value itself (LiveCodeBench), 2 also its items (APPS).
 */
export type CallTest = {
  readonly values: readonly Tagged[];
  readonly accepted: readonly Tagged[];
  readonly tupleDepth: 1 | 2;
};

export type Problem =
  | { readonly mode: "stdin"; readonly tests: readonly StdinTest[] }
  | { readonly mode: "functional"; readonly entry: string; readonly tests: readonly CallTest[] };
