// What a benchmark measures and what one row of its result holds.
import { z } from "zod";

export const shapes = ["T", "S", "M"] as const;
export const works = ["training-step", "decode", "rl-step"] as const;

export type Shape = (typeof shapes)[number];
export type Work = (typeof works)[number];

export const isShape = (name: string): name is Shape => shapes.some((shape) => shape === name);
export const isWork = (name: string): name is Work => works.some((work) => work === name);
export const isSuite = (name: string): boolean => name === "policy";

/** One measured row: medians over `repeats` runs after one warm-up. */
export const benchRow = z.strictObject({
  shape: z.enum(shapes),
  work: z.enum(works),
  size: z.string().describe("what was run, in words"),
  tokensPerSecond: z.number().positive(),
  secondsMedian: z.number().positive(),
  spread: z.number().min(0).describe("(slowest − fastest) / 2 / median"),
  repeats: z.number().int().positive(),
  peakMemoryGib: z.number().positive().describe("peak resident memory of the row's process"),
  level: z.string().describe("instruction level of the CPU backend"),
  threads: z.number().int().positive(),
});

export type BenchRow = z.infer<typeof benchRow>;

/** Sizes of each row: training sequences × length; decode batch, prompt, new tokens; RL prompts × group, prompt, response. */
export const sizes: Record<
  Shape,
  { train: [number, number]; decode: [number, number, number]; rl: [number, number, number, number]; repeats: number }
> = {
  T: { train: [64, 128], decode: [64, 32, 128], rl: [8, 8, 32, 128], repeats: 5 },
  S: { train: [16, 256], decode: [16, 128, 64], rl: [2, 8, 128, 64], repeats: 5 },
  M: { train: [2, 512], decode: [8, 128, 16], rl: [1, 4, 64, 32], repeats: 3 },
};
