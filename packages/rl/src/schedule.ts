// Learning-rate schedules: pure functions of the step, so that a resumed run has the same rates.

/** Rates are absolute; steps are counted from 0, warm-up reaches `peak` at step `warmupSteps − 1`. */
export type Schedule =
  | { readonly kind: "constant"; readonly peak: number; readonly warmupSteps: number }
  | {
      readonly kind: "cosine" | "linear";
      readonly peak: number;
      readonly warmupSteps: number;
      readonly totalSteps: number;
      /** The rate at the end, as a share of the peak. */
      readonly floorShare: number;
    };

/** The learning rate of step `step` (0-based). */
export function learningRate(schedule: Schedule, step: number): number {
  const warm = linearWarmup(step, schedule.warmupSteps);
  if (warm < 1 || schedule.kind === "constant") return schedule.peak * warm;
  const length = schedule.totalSteps - schedule.warmupSteps;
  const decay = schedule.kind === "cosine" ? cosineDecay : linearDecay;
  return schedule.peak * decay(step - schedule.warmupSteps, length, schedule.floorShare);
}

/** Rises in equal parts from 1/warmupSteps at step 0 to 1, and stays there. */
function linearWarmup(step: number, warmupSteps: number): number {
  return step + 1 >= warmupSteps ? 1 : (step + 1) / warmupSteps;
}

/** Falls as half a cosine from 1 at step 0 (and before) to `floorShare` at step `length`, and stays there. */
function cosineDecay(step: number, length: number, floorShare: number): number {
  return floorShare + (1 - floorShare) * 0.5 * (1 + Math.cos(Math.PI * progress(step, length)));
}

/** Falls in a straight line from 1 at step 0 (and before) to `floorShare` at step `length`, and stays there. */
function linearDecay(step: number, length: number, floorShare: number): number {
  return 1 - (1 - floorShare) * progress(step, length);
}

function progress(step: number, length: number): number {
  return length <= 0 ? 1 : Math.min(1, Math.max(0, step / length));
}
