// When a stage is over: after its steps, when its prompts run out, or when the reward no longer rises.

/** The reward is on a plateau when the mean of the last `window` steps is less than `minGain` above the window before. */
export type PlateauRule = { readonly window: number; readonly minGain: number };

export type StageEndRules = { readonly steps?: number; readonly plateau?: PlateauRule };

export type StageEnd = "steps" | "prompts-exhausted" | "plateau";

/** Why the stage is over after `step` steps with these mean scores (one per step that had any), or undefined. */
export function stageEnd(rules: StageEndRules, step: number, scores: readonly number[]): StageEnd | undefined {
  if (rules.steps !== undefined && step >= rules.steps) return "steps";
  return rules.plateau && onPlateau(scores, rules.plateau) ? "plateau" : undefined;
}

function onPlateau(scores: readonly number[], { window, minGain }: PlateauRule): boolean {
  if (scores.length < 2 * window) return false;
  const last = mean(scores.slice(-window));
  const before = mean(scores.slice(-2 * window, -window));
  return last - before < minGain;
}

function mean(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0) / values.length;
}
