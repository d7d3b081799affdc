// One row of `bun run judge`: what each task's row looks like, and who judges it. A new task is one entry in `judges`.
import {
  FormatError,
  fault,
  type MathGrader,
  type MathMode,
  type MathOptions,
  SandboxError,
  type Verdict,
} from "@gradus/rewards";
import { z } from "zod";
import { type CodeContext, judgeCode, judgeEvalPlus } from "./judge-code.ts";

/** A row that was read: its id, and either its task's content, parsed and as it was written, or what is wrong with it. */
export type JudgeRow = {
  readonly id: string | number | null;
  readonly row: unknown;
  readonly line: string;
  readonly wrong?: string;
};

export type JudgeContext = CodeContext & { readonly mode: MathMode; readonly grader: MathGrader };

const idSchema = z.looseObject({ id: z.union([z.string(), z.number()]), task: z.string() });
const goldSchema = z.union([z.string(), z.array(z.string()), z.null()]).transform((gold) => [gold ?? ""].flat());

// The options that the conformance files' cases assume; others that stand there say nothing to a mode.
const optionsSchema = z.looseObject({
  match_types: z.array(z.string()).optional(),
  precision: z.number().int().min(0).max(30).optional(),
  strict: z.boolean().optional(),
  allow_set_relation_comp: z.boolean().optional(),
  round_number: z.boolean().optional(),
});

const mathSchema = z.looseObject({
  gold: goldSchema,
  response: z.string(),
  prompt: z.string().optional(),
  opts: optionsSchema.optional(),
});
const equalSchema = z.looseObject({ gold: goldSchema, pred: z.string().nullable(), opts: optionsSchema.optional() });

/** Judges the rows of one task. Throws a ZodError or a FormatError for a row of another shape. */
type Judge = (row: unknown, context: JudgeContext, line: string) => Promise<Verdict>;

/** Every task's judge. */
const judges: ReadonlyMap<string, Judge> = new Map<string, Judge>([
  [
    "math",
    (row, { mode, grader }) => {
      const { gold, response, prompt, opts } = mathSchema.parse(row);
      const content = { response, golds: gold, ...(prompt !== undefined && { promptText: prompt }) };
      return grader.grade(content, optionsOf(mode, opts));
    },
  ],
  [
    "equal",
    (row, { mode, grader }) => {
      const { gold, pred, opts } = equalSchema.parse(row);
      return grader.grade({ answer: pred ?? "", golds: gold }, optionsOf(mode, opts));
    },
  ],
  ["code", judgeCode],
  ["evalplus", judgeEvalPlus],
]);

function optionsOf(mode: MathMode, opts: z.infer<typeof optionsSchema> = {}): MathOptions {
  const matchTypes = (["latex", "expr"] as const).filter((type) => opts.match_types?.includes(type));
  return {
    mode,
    mathVerify: {
      ...(matchTypes.length > 0 && { matchTypes }),
      ...(opts.precision !== undefined && { places: opts.precision }),
      ...(opts.strict !== undefined && { namesCount: opts.strict }),
      ...(opts.allow_set_relation_comp !== undefined && { allowSetRelation: opts.allow_set_relation_comp }),
    },
    aceReason: { roundNumber: opts.round_number === true },
  };
}

/** Reads a line of the file; never throws. */
export function readRow(line: string, lineNumber: number): JudgeRow {
  let row: unknown;
  try {
    row = JSON.parse(line);
  } catch {
    return { id: null, row: null, line, wrong: `line ${lineNumber} is not JSON; expected one object a line` };
  }
  const parsed = idSchema.safeParse(row);
  if (parsed.success) return { id: parsed.data.id, row, line };
  const id = z.looseObject({ id: z.union([z.string(), z.number()]) }).safeParse(row);
  return { id: id.success ? id.data.id : null, row, line, wrong: `line ${lineNumber}: ${describe(parsed.error)}` };
}

/** The verdict on a row. A row that cannot be judged is a fault that says why. */
export async function judgeRow({ row, line, wrong }: JudgeRow, context: JudgeContext): Promise<Verdict> {
  if (wrong !== undefined) return fault(wrong);
  const { task } = idSchema.parse(row);
  const judge = judges.get(task);
  if (!judge) return fault(`unknown task "${task}"; there are ${[...judges.keys()].join(", ")}`);
  try {
    return await judge(row, context, line);
  } catch (error) {
    if (error instanceof z.ZodError) return fault(describe(error));
    if (error instanceof FormatError || error instanceof SandboxError) return fault(error.message);
    throw error;
  }
}

function describe(error: z.ZodError): string {
  const [issue] = error.issues;
  return issue ? `field "${issue.path.join(".")}": ${issue.message}` : "the row has another shape";
}
