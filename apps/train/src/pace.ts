// How long a phase still takes, from the steps that it took lately.
import type { StepEvent } from "./events.ts";

/** Follows step events and tells the seconds left in the phase, or null where its end is not known. */
export function startPace(): (event: StepEvent) => number | null {
  let stage = "";
  let secondsPerStep = 0;
  return (event) => {
    const seconds = event.metrics["timing_s/step"] ?? 0;
    const first = stage !== event.stage;
    secondsPerStep = first ? seconds : secondsPerStep + (seconds - secondsPerStep) / 20;
    stage = event.stage;
    return event.stageSteps === null ? null : (event.stageSteps - event.stageStep) * secondsPerStep;
  };
}
