// Rows with programs: tasks `code` and `evalplus`. Both run in one sandbox, which starts with the first of them.
import {
  type EvalPlusGrader,
  evalPlusGrader,
  extractProgram,
  FormatError,
  gradeProgram,
  noProgram,
  ownSandbox,
  parsePythonJson,
  problemOf,
  type Sandbox,
  type Verdict,
} from "@gradus/rewards";
import { z } from "zod";
import type { EvalPlusData } from "./evalplus-folder.ts";

export type CodeContext = {
  /** The sandbox, started when it is first asked for. */
  readonly sandbox: () => Promise<Sandbox>;
  readonly evalPlus: () => Promise<EvalPlusGrader>;
  readonly data: EvalPlusData;
};

/** What the rows of one file share, and its end. */
export function codeContext(
  start: () => Promise<Sandbox>,
  data: EvalPlusData,
): { readonly context: CodeContext; readonly close: () => Promise<void> } {
  const { open: sandbox, close } = ownSandbox(start);
  let grader: Promise<EvalPlusGrader> | undefined;
  const evalPlus = () => {
    grader ??= sandbox().then(evalPlusGrader);
    return grader;
  };
  return { context: { sandbox, evalPlus, data }, close };
}

const programSchema = z.looseObject({
  response: z.string().optional(),
  code: z.string().optional(),
  prompt: z.string().optional(),
});
const codeSchema = programSchema.extend({
  tests: z.unknown(),
  // "fn" is how conformance files of public graders write functional.
  mode: z.enum(["stdin", "functional", "fn"]).optional(),
});
const evalPlusSchema = programSchema.extend({ dataset: z.enum(["humaneval", "mbpp"]), task_id: z.string() });

function programOf({ response, code, prompt }: z.infer<typeof programSchema>): string | undefined {
  if (code !== undefined) return code;
  if (response === undefined) throw new FormatError('no program; expected "response" or "code"');
  return extractProgram(response, prompt);
}

/** A program against its tests. The tests are read from the line itself, where 1.0 is not yet 1. */
export async function judgeCode(row: unknown, { sandbox }: CodeContext, line: string): Promise<Verdict> {
  const { mode, ...given } = codeSchema.parse(row);
  const exact = parsePythonJson(line);
  const tests = exact instanceof Map ? exact.get("tests") : undefined;
  if (tests === undefined) throw new FormatError('no "tests"; expected {"inputs", "outputs", "fn_name"?}');
  const problem = problemOf(tests, mode === undefined ? {} : { mode: mode === "stdin" ? "stdin" : "functional" });
  const program = programOf(given);
  return program === undefined ? noProgram : gradeProgram(problem, program, await sandbox());
}

/** A program for a task of HumanEval+ or MBPP+: score 1 where base and plus pass; the method tells both. */
export async function judgeEvalPlus(row: unknown, { evalPlus, data }: CodeContext): Promise<Verdict> {
  const { dataset, task_id, ...given } = evalPlusSchema.parse(row);
  const program = programOf(given);
  const task = (await data(dataset)).get(task_id);
  if (!task) throw new FormatError(`no task ${task_id} in ${dataset}`);
  if (program === undefined) return noProgram;
  return (await (await evalPlus()).grade(task, program)).verdict;
}
