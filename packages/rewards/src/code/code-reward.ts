// The code reward: the program in a response against the prompt's tests.
import type { Reward, RewardPrompt } from "../reward.ts";
import type { Sandbox } from "../sandbox/sandbox.ts";
import { SandboxError } from "../sandbox/sandbox-error.ts";
import { fault, type Verdict } from "../verdict.ts";
import { extractProgram } from "./extract-program.ts";
import { gradeProgram, type ProgramOptions } from "./grade-program.ts";
import { problemReader } from "./kept-problems.ts";
import { ownSandbox } from "./own-sandbox.ts";

export type CodeRewardOptions = ProgramOptions & {
  /** Where programs run; default a sandbox of the reward's own, started when it is first needed and ended by `close`. */
  readonly sandbox?: () => Promise<Sandbox>;
  /** Tags of a fence that mean the program's language; default Python's. */
  readonly languages?: readonly string[];
};

/**
 * A reward of 1 for a program that passes all of `prompt.tests` (any form that readProblem knows), else 0, or the share
 * of passed tests with `score: "fraction"`. A response without a program is `no-answer`; tests that cannot be read, and a
 * sandbox that cannot be had, are faults.
 */
export function codeReward(options: CodeRewardOptions = {}): Reward {
  const { sandbox: given, languages, ...how } = options;
  const own = ownSandbox();
  const sandbox = given ?? own.open;
  const problems = problemReader();
  const grade: Reward = async ({ prompt, promptText, text }) => {
    const problem = problems(prompt);
    if (typeof problem === "string") return fault(problem);
    const program = extractProgram(text, promptText, languages);
    if (program === undefined) return noProgram;
    try {
      return await gradeProgram(problem, program, await sandbox(), how);
    } catch (error) {
      if (error instanceof SandboxError) return fault(error.message);
      throw error;
    }
  };
  return Object.assign(grade, {
    start: async () => {
      await sandbox();
    },
    check: (prompt: RewardPrompt) => {
      const problem = problems(prompt);
      return typeof problem === "string" ? problem : undefined;
    },
    ...(given === undefined && { close: own.close }),
    limitSeconds: Number.POSITIVE_INFINITY,
  });
}

/** The verdict on a response without a program. */
export const noProgram: Verdict = {
  status: "graded",
  score: 0,
  kind: "no-answer",
  detail: "no fenced block with a program after the thought",
};
