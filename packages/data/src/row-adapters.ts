// Row adapters: how the rows of well-known data sets become prompts. The first row decides, and the choice is reported.
import { z } from "zod";
import { exactText } from "./exact-text.ts";
import type { Message } from "./prompt.ts";

/** A row as read: what of it was found, before anything is required of it. */
export type AdaptedRow = {
  readonly id?: string;
  readonly text?: string;
  readonly messages?: readonly Message[];
  readonly answer?: string;
  readonly solution?: string;
  /** The solution itself leaves its answer empty (`\boxed{}`), as two rows of MATH do. */
  readonly emptyBox?: true;
};

/** What decides how a response to the row is judged, beside its answer. */
export type JudgedBy = {
  readonly source?: string;
  readonly tests?: unknown;
  readonly testsText?: string;
  readonly starter?: string;
};

/** `fields` names where question, answer and solution come from, for reports. */
export type RowAdapter = { readonly name: string; readonly fields: string; adapt(row: unknown): AdaptedRow };

const word = z.union([z.string(), z.number()]).transform(String).optional();
const rowSchema = z.looseObject({ id: word, unique_id: word });
const messagesSchema = z.array(z.looseObject({ role: z.enum(["system", "user", "assistant"]), content: z.string() }));

const questionFields = ["problem", "question", "question_content", "prompt", "instruction", "input"] as const;
const answerFields = ["answer", "expected_answer", "ground_truth"] as const;
const solutionFields = ["solution", "response", "completion", "output"] as const;

/** The adapter for a data set whose first row is `row`, or what is wrong with the row. */
export function chooseAdapter(row: unknown): RowAdapter | { problem: string } {
  const fields = rowSchema.safeParse(row);
  if (!fields.success) return { problem: "expected an object with a question" };
  const has = (name: string) => fields.data[name] !== undefined && fields.data[name] !== null;
  if (has("messages")) return messagesAdapter;
  if (has("instruction") && has("input") && has("output")) return alpacaAdapter;
  const [question, another] = questionFields.filter(has);
  if (!question) {
    const names = Object.keys(fields.data).slice(0, 8).join(", ");
    return { problem: `no question: expected one of messages, ${questionFields.join(", ")}; the row has ${names}` };
  }
  if (another) return { problem: `both "${question}" and "${another}" could be the question; remove or rename one` };
  if (typeof fields.data.answer === "string" && /\n#### .+$/.test(fields.data.answer)) return gsm8kAdapter;
  return fieldsAdapter(question, answerFields.find(has), solutionFields.find(has));
}

/** One message list a row; a last message of the assistant is the solution. */
const messagesAdapter: RowAdapter = {
  name: "messages",
  fields: "messages (the last assistant message is the solution), answer",
  adapt: (row) => {
    const { messages, answer, ...rest } = rowSchema.extend({ messages: messagesSchema, answer: word }).parse(row);
    const plain = messages.map(({ role, content }) => ({ role, content }));
    const last = plain.at(-1);
    const solution = last?.role === "assistant" ? last.content : undefined;
    const asked = solution === undefined ? plain : plain.slice(0, -1);
    return compact({ id: rest.id ?? rest.unique_id, messages: asked, answer, solution });
  },
};

/** GSM8K: the answer holds the solution and, after `####`, the number. */
const gsm8kAdapter: RowAdapter = {
  name: "gsm8k",
  fields: "question, answer (solution, then #### and the number)",
  adapt: (row) => {
    const { question, answer, id } = rowSchema.extend({ question: z.string(), answer: z.string() }).parse(row);
    const border = answer.lastIndexOf("\n#### ");
    if (border < 0) return compact({ id, text: question });
    const gold = answer.slice(border + "\n#### ".length).trim();
    return compact({ id, text: question, answer: gold.replaceAll(",", ""), solution: answer.slice(0, border) });
  },
};

/** Alpaca: an instruction, an input that may be empty, an output. */
const alpacaAdapter: RowAdapter = {
  name: "alpaca",
  fields: "instruction, input, output",
  adapt: (row) => {
    const schema = rowSchema.extend({ instruction: z.string(), input: z.string(), output: z.string(), answer: word });
    const { id, instruction, input, output, answer } = schema.parse(row);
    const text = input === "" ? instruction : `${instruction}\n\n${input}`;
    return compact({ id, text, answer: answer ?? boxedAnswer(output), solution: output });
  },
};

/** One field each: MATH, AceReason-Math, most others. Only a set without an answer field has its answers boxed. */
function fieldsAdapter(question: string, answer: string | undefined, solution: string | undefined): RowAdapter {
  const schema = rowSchema.extend({
    [question]: z.string(),
    ...(answer !== undefined && { [answer]: word }),
    ...(solution !== undefined && { [solution]: word }),
  });
  const textSchema = word.nullable();
  return {
    name: "fields",
    fields: [question, answer, solution].filter((name) => name !== undefined).join(", "),
    adapt: (row) => {
      const parsed = schema.parse(row);
      const find = (name: string | undefined) => (name === undefined ? undefined : textSchema.parse(parsed[name]));
      const given = find(solution) ?? undefined;
      const boxed = given === undefined ? undefined : boxedAnswer(given);
      return {
        ...compact({
          id: parsed.id ?? parsed.unique_id,
          text: z.string().parse(parsed[question]),
          answer: answer === undefined ? boxed : (find(answer) ?? undefined),
          solution: given,
        }),
        ...(boxed?.trim() === "" && { emptyBox: true }),
      };
    },
  };
}

/** The content of a solution's last `\boxed{…}`: MATH's own files give the answer nowhere else. */
function boxedAnswer(solution: string): string | undefined {
  const start = solution.lastIndexOf("\\boxed{");
  if (start < 0) return undefined;
  const content = start + "\\boxed{".length;
  let depth = 1;
  for (let at = content; at < solution.length; at++) {
    if (solution[at] === "\\") at++;
    else if (solution[at] === "{") depth++;
    else if (solution[at] === "}" && --depth === 0) return solution.slice(content, at);
  }
  return undefined;
}

type Loose = {
  id?: string | null | undefined;
  text?: string;
  messages?: readonly Message[];
  answer?: string | null | undefined;
  solution?: string | undefined;
};

/** Leaves out what is absent or blank. */
function compact({ id, text, messages, answer, solution }: Loose): AdaptedRow {
  return {
    ...(id?.trim() && { id }),
    ...(text?.trim() && { text }),
    ...(messages && messages.length > 0 && { messages }),
    ...(answer?.trim() && { answer }),
    ...(solution?.trim() && { solution }),
  };
}

/** Fields that hold tests, by data set: LiveCodeBench's, APPS' and TACO's, code_contests'. */
const testFields = [
  ["public_test_cases", "private_test_cases", "metadata"],
  ["input_output"],
  ["public_tests", "private_tests", "generated_tests"],
] as const;

/** The row's source, tests and starter code, where it has them; tests stay as they are written. `line` is the row's text. */
export function judgedBy(row: unknown, line: string): JudgedBy {
  const fields = z.record(z.string(), z.unknown()).safeParse(row).data ?? {};
  const has = (name: string) => fields[name] !== undefined && fields[name] !== null && fields[name] !== "";
  const text = (...names: string[]) => names.map((name) => fields[name]).find((value) => typeof value === "string");
  const source = text("source", "data_source");
  const starter = text("starter_code", "starter");
  const own = testFields.find((names) => names.some((name) => name !== "metadata" && has(name)));
  const tests = has("tests")
    ? fields.tests
    : own && Object.fromEntries(own.filter(has).map((name) => [name, fields[name]]));
  const testsText = tests === undefined ? undefined : exactText(line, has("tests") ? "tests" : (own ?? []).filter(has));
  return {
    ...(source?.trim() && { source }),
    ...(tests !== undefined && { tests }),
    ...(testsText !== undefined && { testsText }),
    ...(starter?.trim() && { starter }),
  };
}
