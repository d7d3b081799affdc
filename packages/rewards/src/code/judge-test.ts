// One test of a program: what the sandbox says of the run becomes right, wrong, error, timeout or a fault of ours.
import type { Run } from "../sandbox/protocol.ts";
import type { Tagged } from "../sandbox/tagged.ts";
import { stdoutDifference } from "./compare-stdout.ts";
import type { CallTest, StdinTest } from "./problem.ts";
import { shortRepr } from "./python-repr.ts";
import { pythonEqual, sequenceOf } from "./python-value.ts";

export type TestResult =
  | { readonly is: "right"; readonly cpuMs: number }
  | { readonly is: "wrong" | "error" | "timeout"; readonly detail: string; readonly cpuMs: number }
  | { readonly is: "fault"; readonly reason: string };

/** Whether the run ended in a time limit. */
export function isTimeout({ outcome }: Run): boolean {
  return outcome === "cpu-limit" || outcome === "wall-limit";
}

/** What a run's end alone decides; undefined for a program that ended well, whose output decides. */
export function endResult(run: Run): TestResult | undefined {
  const { outcome, cpuMs } = run;
  switch (outcome) {
    case "exited": {
      // LiveCodeBench lets `sys.exit(1)` pass after the right output; a judge of programs does not.
      if (run.exitCode === 0) return undefined;
      const why = lastLine(run.stderr);
      return { is: "error", detail: `exit code ${run.exitCode}${why && `: ${why}`}`, cpuMs };
    }
    case "signalled":
      return { is: "error", detail: `ended by signal ${run.signal}`, cpuMs };
    case "memory-limit":
      return { is: "error", detail: "over the memory limit", cpuMs };
    case "output-limit":
      return { is: "error", detail: "over the output limit", cpuMs };
    case "cpu-limit":
      return { is: "timeout", detail: "over the processor time limit", cpuMs };
    case "wall-limit":
      return { is: "timeout", detail: "idle over the waiting limit", cpuMs };
    case "cancelled":
    case "fault":
      return { is: "fault", reason: run.reason ?? `the sandbox ended the run: ${outcome}` };
  }
}

export function stdinResult(run: Run, { output }: StdinTest): TestResult {
  const end = endResult(run);
  if (end) return end;
  const printed = new TextDecoder("utf-8", { ignoreBOM: true }).decode(run.stdout);
  const difference = stdoutDifference(printed, output);
  const { cpuMs } = run;
  return difference === undefined ? { is: "right", cpuMs } : { is: "wrong", detail: difference, cpuMs };
}

export function callResult(run: Run, test: CallTest): TestResult {
  const end = endResult(run);
  if (end) return end;
  const { cpuMs } = run;
  const [answer] = run.answers;
  if (answer === undefined) return { is: "error", detail: "ended before it gave an answer", cpuMs };
  if ("error" in answer) return { is: "error", detail: `${answer.error}: ${answer.message}`, cpuMs };
  const value = tuplesAsLists(answer.value, test.tupleDepth);
  if (test.accepted.some((accepted) => pythonEqual(value, accepted))) return { is: "right", cpuMs };
  const wanted = shortRepr(test.accepted[0] ?? null);
  return { is: "wrong", detail: `${shortRepr(answer.value)}, expected ${wanted}`, cpuMs };
}

function tuplesAsLists(value: Tagged, depth: number): Tagged {
  const items = depth > 0 ? sequenceOf(value) : undefined;
  return items === undefined ? value : depth === 1 ? items : items.map((item) => tuplesAsLists(item, depth - 1));
}

function lastLine(text: string): string {
  return text.trimEnd().split("\n").at(-1)?.trim() ?? "";
}
