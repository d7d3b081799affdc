// What gradus-sandboxd says (protocol 1), checked at the edge, and what callers give and get.
import { z } from "zod";
import type { Answer, Tagged } from "./tagged.ts";

export const protocolVersion = 1;

export type Tier = "A" | "B";

/** Limits of one run; every one is a whole number above 0. */
export type Limits = {
  /** Processor time of all the test's processes, milliseconds. */
  readonly cpuMs: number;
  /** Counts only time in which no thread of the test was running or ready, so it ends sleepers alone; milliseconds. */
  readonly wallMs: number;
  readonly memoryMiB: number;
  /** The most that stdout, or the answers, may have. */
  readonly outputBytes: number;
  /** Size of the working directory. */
  readonly fileMiB: number;
  readonly processes: number;
};

export const limitNames = ["cpuMs", "wallMs", "memoryMiB", "outputBytes", "fileMiB", "processes"] as const;

/** The highest limits that the daemon takes; of stdout and answers so much that both and stderr fit into one frame. */
export const limitsMax: Limits = {
  cpuMs: 2 ** 32,
  wallMs: 2 ** 32,
  memoryMiB: 2 ** 24,
  outputBytes: 96 * 1024 * 1024,
  fileMiB: 2 ** 20,
  processes: 2 ** 15,
};

const outcomes = [
  "exited",
  "signalled",
  "cpu-limit",
  "wall-limit",
  "memory-limit",
  "output-limit",
  "cancelled",
  "fault",
] as const;
export type Outcome = (typeof outcomes)[number];

/** A program, run as a script with real pipes, or loaded once and called for every list of arguments. */
export type Program =
  | { readonly mode: "stdin"; readonly code: string; readonly stdin: Uint8Array | string }
  | {
      readonly mode: "calls";
      readonly code: string;
      readonly entry: string;
      readonly calls: readonly (readonly Tagged[])[];
    };

/** The result of a run: how it ended. It is no verdict: expected outputs never enter the sandbox. */
export type Run = {
  readonly outcome: Outcome;
  readonly exitCode: number | null;
  readonly signal: number | null;
  readonly cpuMs: number;
  readonly wallMs: number;
  readonly memoryPeakMiB: number;
  readonly stdout: Uint8Array;
  /** The end of it, at most 4 KiB. */
  readonly stderr: string;
  /** One a call, in order; fewer where the program ended early. Empty for programs. */
  readonly answers: readonly Answer[];
  /** Why, for a fault. */
  readonly reason?: string;
  readonly tier: Tier;
};

const wallSchema = z.object({ name: z.string(), holds: z.boolean(), detail: z.string() });
/** One wall that the daemon tried to break at its start. */
export type Wall = z.infer<typeof wallSchema>;

const readySchema = z.object({
  type: z.literal("ready"),
  protocol: z.literal(protocolVersion),
  tier: z.enum(["A", "B"]),
  workers: z.int().positive(),
  python: z.string(),
  walls: z.array(wallSchema),
});
const refusedSchema = z.object({
  type: z.literal("refused"),
  protocol: z.literal(protocolVersion),
  reason: z.string(),
  remedy: z.string(),
  walls: z.array(wallSchema),
});
/** The daemon's first header. */
export const greetingSchema = z.discriminatedUnion("type", [readySchema, refusedSchema]);
export type Ready = z.infer<typeof readySchema>;
export type Greeting = z.infer<typeof greetingSchema>;

/** The header of a result; its blobs are stdout, the end of stderr, and the answers. */
export const resultSchema = z.object({
  type: z.literal("result"),
  id: z.int().nonnegative(),
  outcome: z.enum(outcomes),
  exitCode: z.int().nullable(),
  signal: z.int().nullable(),
  cpuMs: z.number().nonnegative(),
  wallMs: z.number().nonnegative(),
  memoryPeakMiB: z.number().nonnegative(),
  reason: z.string().nullish(),
});
export type ResultHeader = z.infer<typeof resultSchema>;
