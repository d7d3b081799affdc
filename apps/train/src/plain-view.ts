// The view where stdout is no terminal: one plain line a step; of SFT's many short steps one in 25.
import type { EvalResult, RunEvent, StepEvent, View } from "./events.ts";
import { duration, oneLine, percent, short } from "./format.ts";
import { memoryLine } from "./memory-line.ts";
import { startPace } from "./pace.ts";
import { summaryText } from "./summary.ts";

/** @param write takes text for stdout. */
export function plainView(write: (text: string) => void): View {
  const pace = startPace();
  return {
    show: (event) => {
      if (event.type === "step") {
        const secondsLeft = pace(event);
        if (isTold(event)) write(`${stepLine(event, secondsLeft)}\n`);
        return;
      }
      const line = eventLine(event);
      if (line !== null) write(`${line}\n`);
    },
    close: () => {},
  };
}

function isTold({ limit, stageStep, stageSteps }: StepEvent): boolean {
  const inSft = limit === null;
  return !inSft || stageStep === 1 || stageStep % 25 === 0 || stageStep === stageSteps;
}

/** A step in one line; the metrics that a phase does not have are left out. */
function stepLine(event: StepEvent, secondsLeft: number | null): string {
  const { metrics } = event;
  const part = (label: string, value: number | undefined, text: (value: number) => string = short): string[] =>
    value === undefined ? [] : [`${label} ${text(value)}`];
  const length = metrics["response_length/mean"];
  // A fault is no score and is seen in no mean: where there are some, they must be told.
  const faults = metrics["reward/fault"] || undefined;
  return [
    `${event.stage} ${event.stageStep}${event.stageSteps === null ? "" : `/${event.stageSteps}`}`,
    ...part("loss", metrics["train/loss"]),
    ...part("reward", metrics["critic/score/mean"]),
    ...part("entropy", metrics["actor/entropy"]),
    ...part("length", length, (value) => `${value.toFixed(1)}/${event.limit ?? "?"}`),
    ...part("truncated", metrics["response_length/clip_ratio"], percent),
    ...part("faults", faults),
    ...part("grad", metrics["actor/grad_norm"]),
    ...part("rollout", metrics["perf/gen_tokens_per_s"], (value) => `${short(value)} tokens/s`),
    ...part("train", metrics["perf/train_tokens_per_s"], (value) => `${short(value)} tokens/s`),
    ...part("step", metrics["timing_s/step"], (value) => `${short(value)} s`),
    ...(secondsLeft === null ? [] : [`left ${duration(secondsLeft)}`]),
  ].join("  ");
}

/** Any other event in one line (the summary in several), or null where there is nothing to say. */
export function eventLine(event: Exclude<RunEvent, StepEvent>): string | null {
  switch (event.type) {
    case "run": {
      const size = `${(event.parameters / 1e6).toFixed(2)} M parameters`;
      const from = event.resumedAt === null ? "" : `, resumed after step ${event.resumedAt}`;
      const phases = event.phases.map(({ name, steps }) => (steps === null ? name : `${name} ${steps} steps`));
      const plan = phases.length === 0 ? "all phases are done" : phases.join(", then ");
      const when = event.resumedAt === null ? "at the start and after each" : "after each";
      const evaluation = event.evaluation === null ? "" : `; ${event.evaluation} ${when}`;
      const files = `${event.folder}: config.json, checkpoints, rollouts, report.md at the end`;
      return `run ${event.run}: ${event.recipe}, ${size}${from}\n    ${plan}${evaluation}\n    ${files}`;
    }
    case "phase":
      return `phase ${event.phase}${event.steps === null ? "" : `: ${event.steps} steps`}`;
    case "memory":
      return `memory ${event.phase}  ${memoryLine(event)}`;
    case "evaluating":
      return null;
    case "eval":
      return evalLine(event);
    case "sample":
      return `    ${oneLine(event.prompt, 60)} → ${oneLine(event.response, 100)}  (${short(event.score)})`;
    case "checkpoint":
      return `checkpoint ${event.folder}`;
    case "note":
      return event.text;
    case "summary":
      return summaryText(event.summary, event.evals);
  }
}

function evalLine(event: EvalResult & { seconds: number }): string {
  const size = `${event.n} problems, mean length ${event.length.toFixed(1)}, ${duration(event.seconds)}`;
  return `evaluation ${event.phase}  ${event.task} ${event.metric} ${percent(event.value)}  (${size})`;
}
