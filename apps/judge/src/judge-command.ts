// `bun run judge FILE.jsonl`: one verdict a row, in the rows' order, and a summary; for people and, with --json, for programs.
import {
  detailOf,
  kindOf,
  type MathMode,
  mapAtMost,
  mathGrader,
  mathModes,
  type Sandbox,
  type Verdict,
} from "@gradus/rewards";
import { evalPlusFolder } from "./evalplus-folder.ts";
import { codeContext } from "./judge-code.ts";
import { type JudgeRow, judgeRow, readRow } from "./judge-row.ts";

export type JudgeEnvironment = {
  readonly readText: (path: string) => Promise<string>;
  readonly writeOut: (text: string) => void;
  readonly writeError: (text: string) => void;
  /** Milliseconds of a clock that only counts. */
  readonly now: () => number;
  /** Asked once, when the first program is there to be judged. */
  readonly startSandbox: () => Promise<Sandbox>;
};

const usage = `usage: bun run judge FILE.jsonl [--mode ${mathModes.join("|")}] [--data FOLDER] [--json]

Judges each row of the file and writes one line a row, in the same order, and a summary.
  {"id", "task": "math", "gold", "response"}        a response and its gold answer; "prompt" may hold the rendered prompt
  {"id", "task": "equal", "gold", "pred", "opts"?}  two bare answers; opts: match_types, precision, strict, allow_set_relation_comp
  {"id", "task": "code", "response" or "code", "tests", "mode"?}  a program; "tests": {"inputs","outputs","fn_name"?} or
      as LiveCodeBench, APPS, TACO, code_contests and Codeforces write them; "mode": stdin or functional
  {"id", "task": "evalplus", "dataset", "task_id", "response" or "code"}  "dataset": humaneval or mbpp; score 1: base and plus
"gold" may be a list, any of which counts. Programs run in the sandbox; a response's program is its last fenced block.
--mode  strict (default): the boxed answer after the thought, exact; mathverify: as Math-Verify 0.8; acereason: as the paper's toolkit
--data  the folder with humaneval_plus/HumanEvalPlus*.jsonl[.gz] and mbpp_plus/MbppPlus*.jsonl[.gz]
--json  lines {"id","score","kind","method","detail","tier"} on standard output, the summary on standard error
`;

type Arguments = {
  readonly file: string;
  readonly mode: MathMode;
  readonly data: string | undefined;
  readonly asJson: boolean;
};

/** Rows that are judged at the same time; their lines wait for the rows before them. */
const rowsAtOnce = 256;

/** Runs the command; gives the exit code: 0 when every row has its line, 2 when the command was wrong. */
export async function judgeCommand(given: readonly string[], environment: JudgeEnvironment): Promise<number> {
  if (given.includes("--help")) {
    environment.writeOut(usage);
    return 0;
  }
  const parsed = parseArguments(given);
  if (typeof parsed === "string") return refuse(environment, parsed);
  let text: string;
  try {
    text = await environment.readText(parsed.file);
  } catch {
    return refuse(environment, `cannot read ${parsed.file}; expected a file of JSON lines`);
  }
  await judgeText(text, parsed, environment);
  return 0;
}

function refuse(environment: JudgeEnvironment, message: string): number {
  environment.writeError(`error: judge: ${message}\n`);
  return 2;
}

function parseArguments(given: readonly string[]): Arguments | string {
  let file: string | undefined;
  let mode: MathMode = "strict";
  let data: string | undefined;
  let asJson = false;
  for (let index = 0; index < given.length; index++) {
    const [name = "", joined] = (given[index] ?? "").split("=", 2);
    if (name === "--json") asJson = true;
    else if (name === "--mode") {
      const value = joined ?? given[++index] ?? "";
      const known = mathModes.find((candidate) => candidate === value);
      if (known === undefined) return `--mode ${value}: expected one of ${mathModes.join(", ")}`;
      mode = known;
    } else if (name === "--data") {
      data = joined ?? given[++index];
      if (!data) return "--data: expected a folder";
    } else if (name.startsWith("-")) return `unknown argument ${name}; there are --mode, --data, --json and --help`;
    else if (file !== undefined) return `two files, ${file} and ${given[index]}; expected one`;
    else file = given[index];
  }
  return file === undefined ? "no file; expected FILE.jsonl (see --help)" : { file, mode, data, asJson };
}

async function judgeText(text: string, given: Arguments, environment: JudgeEnvironment): Promise<void> {
  const { mode, data, asJson } = given;
  const began = environment.now();
  const rows = text
    .split("\n")
    .map((line, index) => ({ line, index }))
    .filter(({ line }) => line.trim() !== "")
    .map(({ line, index }) => readRow(line, index + 1));
  const grader = mathGrader();
  const code = codeContext(environment.startSandbox, evalPlusFolder(data));
  const counts = new Map<string, number>();
  const written = linesInOrder((line) => environment.writeOut(line));
  try {
    await mapAtMost(rowsAtOnce, [...rows.entries()], async ([index, row]) => {
      const verdict = await judgeRow(row, { mode, grader, ...code.context });
      const kind = kindOf(verdict);
      counts.set(kind, (counts.get(kind) ?? 0) + 1);
      written(index, asJson ? jsonLine(row, verdict) : plainLine(row, verdict));
    });
  } finally {
    grader.close();
    await code.close();
  }
  const summary = summaryOf(rows.length, counts, mode, environment.now() - began);
  if (asJson) environment.writeError(summary);
  else environment.writeOut(summary);
}

/** Writes lines in the order of their numbers, each as soon as those before it are there. */
function linesInOrder(write: (line: string) => void): (index: number, line: string) => void {
  const early = new Map<number, string>();
  let next = 0;
  return (index, line) => {
    early.set(index, line);
    for (let due = early.get(next); due !== undefined; due = early.get(next)) {
      early.delete(next++);
      write(due);
    }
  };
}

function jsonLine({ id }: JudgeRow, verdict: Verdict): string {
  const grade = verdict.status === "fault" ? undefined : verdict;
  const line = {
    id,
    score: grade?.score ?? null,
    kind: kindOf(verdict),
    method: grade?.method ?? null,
    detail: detailOf(verdict) ?? null,
    tier: grade?.tier ?? null,
  };
  return `${JSON.stringify(line)}\n`;
}

function plainLine({ id }: JudgeRow, verdict: Verdict): string {
  const [score, method] = verdict.status === "fault" ? ["-", ""] : [verdict.score, verdict.method ?? ""];
  return `${[id ?? "-", score, kindOf(verdict), method, detailOf(verdict) ?? ""].join("  ").trimEnd()}\n`;
}

function summaryOf(rows: number, counts: ReadonlyMap<string, number>, mode: MathMode, milliseconds: number): string {
  const kinds = [...counts]
    .sort(([x, a], [y, b]) => b - a || (x < y ? -1 : 1))
    .map(([kind, count]) => `${count} ${kind}`);
  const correct = counts.get("correct") ?? 0;
  const graded = rows - (counts.get("fault") ?? 0);
  const share = graded === 0 ? "" : `, ${((100 * correct) / graded).toFixed(1)}% of the graded correct`;
  return `${rows} rows in ${(milliseconds / 1000).toFixed(1)} s (mode ${mode}): ${kinds.join(", ") || "none"}${share}\n`;
}
