// The tasks of HumanEval+ and MBPP+ as EvalPlus publishes them, with inputs of the types that their functions take.
import { z } from "zod";
import type { Tagged } from "../sandbox/tagged.ts";
import { FormatError, floatText, isList, isObject, type PythonJson, parsePythonJson, taggedOf } from "./python-json.ts";

export type EvalPlusDataset = "humaneval" | "mbpp";

export type EvalPlusTask = {
  readonly id: string;
  readonly dataset: EvalPlusDataset;
  /** The function that is called. */
  readonly entry: string;
  /** The prompt and the canonical solution: a whole program. */
  readonly canonical: string;
  /** Absolute tolerance of floats; 0: exact, save that results of floats alone have 1e-6. */
  readonly tolerance: number;
  /** The lists of arguments of the original tests, and of EvalPlus's further ones. */
  readonly base: readonly (readonly Tagged[])[];
  readonly plus: readonly (readonly Tagged[])[];
};

const taskSchema = z.object({
  task_id: z.string(),
  prompt: z.string(),
  entry_point: z.string(),
  canonical_solution: z.string(),
});

/** Reads a file of JSON lines; the tasks by id. Throws a FormatError that names the line. */
export function readEvalPlus(text: string, dataset: EvalPlusDataset): ReadonlyMap<string, EvalPlusTask> {
  const tasks = new Map<string, EvalPlusTask>();
  for (const [index, line] of text.split("\n").entries()) {
    if (line.trim() === "") continue;
    const row = parsePythonJson(line);
    const parsed = taskSchema.safeParse(isObject(row) ? Object.fromEntries(row) : row);
    if (!parsed.success || !isObject(row)) {
      throw new FormatError(`line ${index + 1} is no EvalPlus task; expected task_id, prompt, entry_point, inputs`);
    }
    const { task_id, prompt, entry_point, canonical_solution } = parsed.data;
    tasks.set(task_id, {
      id: task_id,
      dataset,
      entry: entry_point,
      canonical: prompt + canonical_solution,
      tolerance: toleranceOf(row.get("atol")),
      base: inputsOf(task_id, dataset, row.get("base_input")),
      plus: inputsOf(task_id, dataset, row.get("plus_input")),
    });
  }
  return tasks;
}

function toleranceOf(value: PythonJson | undefined): number {
  if (typeof value === "number") return value;
  return value !== undefined && value !== null && typeof value === "object" && "f" in value ? Number(value.f) : 0;
}

function inputsOf(taskId: string, dataset: EvalPlusDataset, inputs: PythonJson | undefined): Tagged[][] {
  // One task of MBPP+ writes its empty set of inputs as an object.
  if (!isList(inputs)) return [];
  const convert = dataset === "mbpp" ? (conversions.get(Number(taskId.split("/")[1])) ?? plain) : plain;
  return inputs.map((input) => convert(isList(input) ? input : [input]));
}

type Conversion = (input: readonly PythonJson[]) => Tagged[];

const plain: Conversion = (input) => input.map(taggedOf);

/** Iterating an argument as Python's `tuple(value)` does. */
function tupleOf(value: PythonJson, item: (value: PythonJson) => Tagged = taggedOf): Tagged {
  return { t: itemsOf(value).map(item) };
}

function itemsOf(value: PythonJson): readonly PythonJson[] {
  if (isList(value)) return value;
  if (typeof value === "string") return [...value];
  if (isObject(value)) return [...value.keys()];
  throw new FormatError("an input of MBPP+ that cannot become a tuple");
}

const listOfTuples = (value: PythonJson): Tagged => itemsOf(value).map((item) => tupleOf(item));
const tupleOfTuples = (value: PythonJson): Tagged => tupleOf(value, (item) => tupleOf(item));
const tupleWhereList = (value: PythonJson): Tagged => (isList(value) ? tupleOf(value) : taggedOf(value));
const allTuples = (value: PythonJson): Tagged => (isList(value) ? { t: value.map(allTuples) } : taggedOf(value));
// An empty item becomes `{}`, which is a dict.
const setOrDict = (value: PythonJson): Tagged =>
  isList(value) && value.length > 0 ? { s: unique(value.map(taggedOf)) } : { d: [] };

function unique(values: readonly Tagged[]): Tagged[] {
  return [...new Map(values.map((value) => [JSON.stringify(value), value])).values()];
}

/** The first argument converted, the others as they are. */
const first = (convert: (value: PythonJson) => Tagged): Conversion => {
  return ([value = null, ...others]) => [convert(value), ...others.map(taggedOf)];
};
const each = (convert: (value: PythonJson) => Tagged): Conversion => {
  return (input) => input.map(convert);
};

/** What EvalPlus makes of the JSON inputs of MBPP+ tasks whose functions take more than JSON has, by task number. */
const conversions: ReadonlyMap<number, Conversion> = new Map<number, Conversion>([
  ...numbered(
    [2, 116, 132, 143, 222, 261, 273, 394, 399, 421, 424, 429, 470, 560, 579, 596, 616, 630, 726, 740, 744, 809],
    each((value) => tupleOf(value)),
  ),
  ...numbered([63, 64, 70, 94, 120, 237, 272, 299, 400, 409, 417, 438, 473, 614, 780], each(listOfTuples)),
  ...numbered([75, 413, 444, 753], first(listOfTuples)),
  ...numbered([106, 750], ([list = null, tuple = null]) => [taggedOf(list), tupleOf(tuple)]),
  ...numbered(
    [115],
    first((value) => itemsOf(value).map(setOrDict)),
  ),
  ...numbered([124], ([real = null, complex = null]) => [floatArgument(real), complexArgument(complex)]),
  ...numbered([250, 307, 405, 446, 617, 720, 763, 808], first(tupleOf)),
  ...numbered([252], first(complexArgument)),
  ...numbered([259, 401, 445], each(tupleOfTuples)),
  ...numbered(
    [278],
    first((value) => tupleOf(value, tupleWhereList)),
  ),
  ...numbered([580, 615, 791], each(allTuples)),
  ...numbered(
    [722],
    first((value) => ({
      d: isObject(value) ? [...value].map(([key, item]): [Tagged, Tagged] => [key, tupleOf(item)]) : [],
    })),
  ),
]);

function numbered(tasks: readonly number[], conversion: Conversion): [number, Conversion][] {
  return tasks.map((task) => [task, conversion]);
}

function floatArgument(value: PythonJson): Tagged {
  return { f: floatText(Number(numberText(value))) };
}

function numberText(value: PythonJson): string {
  if (typeof value === "string" || typeof value === "number") return String(value);
  if (value !== null && typeof value === "object" && "f" in value) return value.f;
  throw new FormatError("an input of MBPP+ that is no number");
}

const unsigned = String.raw`(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?`;
const imaginaryPattern = new RegExp(`^([+-]?${unsigned})j$`);
const complexPattern = new RegExp(`^([+-]?${unsigned})(?:([+-]${unsigned})j)?$`);

/** The complex number that Python's `complex(text)` reads: "(1-2j)", "0.5j", "3". */
function complexArgument(value: PythonJson): Tagged {
  const text = numberText(value).replace(/^\((.*)\)$/, "$1");
  const imaginary = imaginaryPattern.exec(text)?.[1];
  const [whole, re = "0", im = "0"] = imaginary ? [text, "0", imaginary] : (complexPattern.exec(text) ?? []);
  if (whole === undefined) throw new FormatError(`an input of MBPP+ that is no complex number: ${text}`);
  return { c: [floatText(Number(re)), floatText(Number(im))] };
}
