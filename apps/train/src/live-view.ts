// The view on a terminal: a block of curves that is redrawn in place, with evaluations and phases left standing above it.
import type { EvalResult, RunEvent, StepEvent, View } from "./events.ts";
import { duration, oneLine, percent, short, sparkline, table } from "./format.ts";
import { startPace } from "./pace.ts";
import { eventLine } from "./plain-view.ts";

/** The part of log-update that the view needs. */
export type Redraw = ((text: string) => void) & { persist(...text: string[]): void; clear(): void; done(): void };

/** What the block shows: the title line, curves of the phase so far, the last sample. */
type LiveState = {
  title: string;
  readonly curves: Map<string, number[]>;
  step: StepEvent | null;
  secondsLeft: number | null;
  sample: string | null;
  evaluating: string | null;
  evals: EvalResult[];
};

/**
 * @param redraw draws over what it drew last.
 * @param screen what the block needs to know when it is drawn: columns, memory in GiB, a clock in milliseconds.
 */
export function liveView(redraw: Redraw, screen: { columns(): number; memoryGib(): number; now(): number }): View {
  const state: LiveState = {
    title: "",
    curves: new Map(),
    step: null,
    secondsLeft: null,
    sample: null,
    evaluating: null,
    evals: [],
  };
  const pace = startPace();
  let drawnAt = Number.NEGATIVE_INFINITY;
  const draw = (): void => {
    if (state.title === "") return; // Notes on the data come first.
    drawnAt = screen.now();
    redraw(liveBlock(state, screen.columns(), screen.memoryGib()));
  };
  return {
    show: (event) => {
      updateState(state, event, pace);
      const standing = standingLine(event);
      if (event.type === "summary") redraw.clear();
      if (standing !== null) redraw.persist(standing);
      // Fast steps do not all need a picture of their own.
      if (event.type !== "summary" && (event.type !== "step" || screen.now() - drawnAt > 80)) draw();
    },
    close: () => redraw.done(),
  };
}

function standingLine(event: RunEvent): string | null {
  if (event.type === "step" || event.type === "sample" || event.type === "checkpoint" || event.type === "phase")
    return null;
  return eventLine(event);
}

function updateState(state: LiveState, event: RunEvent, pace: (event: StepEvent) => number | null): void {
  if (event.type === "run") state.title = `${event.recipe} · ${event.run}`;
  if (event.type === "phase") {
    state.curves.clear();
    state.sample = null;
  }
  if (event.type === "evaluating") state.evaluating = `evaluating ${event.task} …`;
  if (event.type === "eval") state.evaluating = null;
  if (event.type === "sample")
    state.sample = `${oneLine(event.prompt, 60)} → ${oneLine(event.response, 400)} (${short(event.score)})`;
  if (event.type !== "step") return;
  state.evaluating = null;
  state.step = event;
  state.secondsLeft = pace(event);
  for (const [name, value] of Object.entries(event.metrics)) {
    const curve = state.curves.get(name);
    if (curve === undefined) state.curves.set(name, [value]);
    else curve.push(value);
  }
}

/** The block as text, every line cut to `columns`. */
function liveBlock(state: LiveState, columns: number, memoryGib: number): string {
  const { step } = state;
  const lines = [[state.title, ...(step === null ? [] : [position(step, state.secondsLeft)])].join(" · ")];
  if (step !== null) lines.push(progressBar(step, Math.min(60, columns - 2)), ...curveLines(state, step, columns));
  lines.push(`memory     ${memoryGib.toFixed(2)} GiB`);
  if (state.sample !== null) lines.push(`sample     ${state.sample}`);
  if (state.evaluating !== null) lines.push(state.evaluating);
  return lines.map((line) => oneLine(line, columns)).join("\n");
}

function position(step: StepEvent, secondsLeft: number | null): string {
  const of = step.stageSteps === null ? "" : `/${step.stageSteps}`;
  const left = secondsLeft === null ? "" : ` · left ${duration(secondsLeft)}`;
  return `${step.stage} ${step.stageStep}${of} · step ${step.step}${left}`;
}

function progressBar(step: StepEvent, width: number): string {
  const share = step.stageSteps === null ? 0 : step.stageStep / step.stageSteps;
  const done = Math.min(width, Math.round(share * width));
  return `${"━".repeat(done)}${"╌".repeat(width - done)}`;
}

function curveLines(state: LiveState, step: StepEvent, columns: number): string[] {
  const rows: string[][] = [];
  const curve = (label: string, name: string, text: (value: number) => string): void => {
    const values = state.curves.get(name);
    const last = values?.at(-1);
    if (values !== undefined && last !== undefined)
      // As wide as the longest value, so that the curves stay where they are.
      rows.push([label, text(last).padEnd(15), sparkline(values, Math.max(8, Math.min(48, columns - 40)))]);
  };
  curve("loss", "train/loss", short);
  curve("reward", "critic/score/mean", short);
  curve("entropy", "actor/entropy", (value) => (step.limit === null ? short(value) : `${short(value)} (aim 0.3)`));
  curve("length", "response_length/mean", (value) => `${value.toFixed(1)} of ${step.limit ?? "?"}`);
  curve("truncated", "response_length/clip_ratio", percent);
  // A fault is no score and is seen in no mean: where there were some, they must be told.
  if (state.curves.get("reward/fault")?.some((faults) => faults > 0)) curve("faults", "reward/fault", short);
  curve("rollout", "perf/gen_tokens_per_s", (value) => `${short(value)} tokens/s`);
  curve("training", "perf/train_tokens_per_s", (value) => `${short(value)} tokens/s`);
  return rows.length === 0 ? [] : table(rows.map(([label = "", ...rest]) => [label.padEnd(9), ...rest])).split("\n");
}
