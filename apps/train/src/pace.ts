// How long a phase still takes, from the steps that it took lately.
import type { StepEvent } from "./events.ts";

/** Follows step events and tells the seconds left in the phase, or null where its end is not known. */
export function startPace(): (event: StepEvent) => number | null {
  let stage = "";
  let [seconds, steps] = [0, 0];
  return (event) => {
    if (stage !== event.stage) [seconds, steps] = [0, 0];
    stage = event.stage;
    // Old steps fade, so that the first ones (cold caches) and longer responses are not believed for long.
    [seconds, steps] = [0.95 * seconds + (event.metrics["timing_s/step"] ?? 0), 0.95 * steps + 1];
    return event.stageSteps === null ? null : ((event.stageSteps - event.stageStep) * seconds) / steps;
  };
}
