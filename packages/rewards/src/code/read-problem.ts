// Reads a problem's tests in the form in which its data set writes them.
import type { Tagged } from "../sandbox/tagged.ts";
import { unpackTests } from "./packed-tests.ts";
import type { CallTest, Problem, StdinTest } from "./problem.ts";
import { FormatError, fromJson, isList, isObject, type PythonJson, parsePythonJson, taggedOf } from "./python-json.ts";

export type ProblemOptions = {
  /** Default: functional where the tests name a function. */
  readonly mode?: "stdin" | "functional";
};

type Fields = ReadonlyMap<string, PythonJson>;
type Pair = { readonly input: PythonJson; readonly output: PythonJson };

/**
 * The problem that `tests` hold: JSON text (exact) or parsed JSON (where 1.0 is 1) of one of these.
 * - `{inputs, outputs, fn_name?}` and `{input_output}` of APPS and TACO: items of stdin are strings or lists of lines; items
 *   of calls are lists of arguments, results `[value]` or `value`. Where an input is a string and there is a function, it
 *   holds one JSON argument a line and its output is JSON, as LiveCodeBench has them.
 * - `{public_test_cases, private_test_cases?, metadata?}` of LiveCodeBench, the private ones packed or not.
 * - `{public_tests?, private_tests?, generated_tests?}` of code_contests, each `{input: [], output: []}`.
 * - `[{input, output, testtype?, metadata?}]` of Codeforces and LiveCodeBench.
 * Throws a FormatError that names the place.
 */
export function readProblem(tests: unknown, options: ProblemOptions = {}): Problem {
  return problemOf(typeof tests === "string" ? parsePythonJson(tests) : fromJson(tests), options);
}

/** The same for JSON that parsePythonJson has read. */
export function problemOf(tests: PythonJson, options: ProblemOptions = {}): Problem {
  const { pairs, entry } = pairsOf(tests);
  if (pairs.length === 0) throw new FormatError("no tests; expected at least one");
  const mode = options.mode ?? (entry === undefined ? "stdin" : "functional");
  if (mode === "stdin") return { mode, tests: pairs.map(stdinTest) };
  if (entry === undefined) throw new FormatError("no name of a function (fn_name); functional tests need one");
  return { mode, entry, tests: pairs.map(callTest) };
}

type Found = { readonly pairs: readonly Pair[]; readonly entry?: string | undefined };

function pairsOf(tests: PythonJson): Found {
  if (typeof tests === "string") return pairsOf(parsePythonJson(tests));
  if (isList(tests)) return fromList(tests);
  if (!isObject(tests)) throw new FormatError("tests are neither an object nor a list");
  const packed = tests.get("input_output");
  if (packed !== undefined) return pairsOf(packed);
  if (tests.has("inputs")) return fromInputsAndOutputs(tests);
  if (tests.has("public_test_cases") || tests.has("private_test_cases")) return fromLiveCodeBench(tests);
  if (contestFields.some((name) => tests.has(name))) return fromCodeContests(tests);
  const expected = "inputs and outputs, input_output, public_test_cases, or public_tests";
  throw new FormatError(`tests with the fields ${[...tests.keys()].join(", ") || "none"}; expected ${expected}`);
}

function fromInputsAndOutputs(tests: Fields): Found {
  const [inputs, outputs] = [tests.get("inputs"), tests.get("outputs")];
  if (!isList(inputs) || !isList(outputs)) throw new FormatError("inputs and outputs must be lists");
  return { pairs: paired(inputs, outputs, "inputs and outputs"), entry: nameOf(tests.get("fn_name")) };
}

function paired(inputs: readonly PythonJson[], outputs: readonly PythonJson[], what: string): Pair[] {
  if (inputs.length !== outputs.length) {
    throw new FormatError(`${what}: ${inputs.length} against ${outputs.length}; expected as many of both`);
  }
  return inputs.map((input, index) => ({ input, output: outputs[index] ?? null }));
}

function fromList(tests: readonly PythonJson[]): Found {
  let entry: string | undefined;
  const pairs = tests.map((test, index) => {
    const [input, output] = isObject(test) ? [test.get("input"), test.get("output")] : [];
    if (!isObject(test) || input === undefined || output === undefined) {
      throw new FormatError(`test ${index + 1}: expected {"input", "output"}`);
    }
    entry ??= functionName(test.get("metadata"));
    // SandboxFusion keeps the streams of a test apart.
    return { input: streamOf(input, "stdin"), output: streamOf(output, "stdout") };
  });
  return { pairs, entry };
}

function streamOf(value: PythonJson, name: string): PythonJson {
  return isObject(value) ? (value.get(name) ?? value) : value;
}

function fromLiveCodeBench(row: Fields): Found {
  const cases = [row.get("public_test_cases"), row.get("private_test_cases")].flatMap(testCases);
  const found = fromList(cases);
  return { pairs: found.pairs, entry: functionName(row.get("metadata")) ?? found.entry };
}

function testCases(cases: PythonJson | undefined): readonly PythonJson[] {
  if (cases === undefined || cases === null || cases === "") return [];
  if (isList(cases)) return cases;
  if (typeof cases !== "string") throw new FormatError("test cases must be a list, JSON text or packed text");
  const text = cases.trimStart().startsWith("[") ? cases : unpackTests(cases);
  const parsed = parsePythonJson(text);
  if (!isList(parsed)) throw new FormatError("test cases hold no list");
  return parsed;
}

const contestFields = ["public_tests", "private_tests", "generated_tests"];

function fromCodeContests(row: Fields): Found {
  const pairs = contestFields.flatMap((name) => {
    const tests = row.get(name);
    if (tests === undefined || tests === null) return [];
    if (isList(tests)) return fromList(tests).pairs;
    const [inputs, outputs] = isObject(tests) ? [tests.get("input"), tests.get("output")] : [];
    if (!isList(inputs) || !isList(outputs)) throw new FormatError(`${name}: expected lists of input and output`);
    return paired(inputs, outputs, name);
  });
  return { pairs };
}

function functionName(metadata: PythonJson | undefined): string | undefined {
  if (typeof metadata === "string") return metadata === "" ? undefined : functionName(parsePythonJson(metadata));
  return isObject(metadata) ? nameOf(metadata.get("func_name")) : undefined;
}

function nameOf(name: PythonJson | undefined): string | undefined {
  if (name === undefined || name === null || name === "") return undefined;
  if (typeof name === "string" && /^[\p{L}_][\p{L}\p{N}_]*$/u.test(name)) return name;
  throw new FormatError("fn_name is not the name of a function");
}

function stdinTest({ input, output }: Pair, index: number): StdinTest {
  return { input: streamText(input, index), output: streamText(output, index) };
}

function streamText(value: PythonJson, index: number): string {
  if (typeof value === "string") return value;
  if (isList(value) && value.every((line) => typeof line === "string")) return value.join("\n");
  throw new FormatError(`test ${index + 1}: expected text or a list of lines for stdin and stdout`);
}

function callTest({ input, output }: Pair, index: number): CallTest {
  if (typeof input === "string") {
    const values = input.split("\n").map((line) => taggedOf(argumentOf(line, index)));
    const value = typeof output === "string" ? argumentOf(output, index) : output;
    return { values, accepted: [taggedOf(value)], tupleDepth: 1 };
  }
  const values = isList(input) ? input : [input];
  const [first] = values;
  const single = values.length === 1 && first !== undefined ? withIntegerKeys(first) : undefined;
  const accepted = isList(output) && output.length === 1 ? [output, output[0] ?? null] : [output];
  const keyed = accepted.flatMap((value) => withIntegerKeys(value) ?? []);
  return {
    values: single === undefined ? values.map(taggedOf) : [single],
    accepted: [...accepted.map(taggedOf), ...keyed],
    tupleDepth: 2,
  };
}

function argumentOf(line: string, index: number): PythonJson {
  try {
    return parsePythonJson(line);
  } catch (error) {
    if (error instanceof FormatError) throw new FormatError(`test ${index + 1}: ${error.message}`);
    throw error;
  }
}

// JSON has no keys but strings; where all look like integers APPS takes them for integers.
function withIntegerKeys(value: PythonJson): Tagged | undefined {
  if (!isObject(value) || value.size === 0) return undefined;
  // Of "1" and "01", one key as integers, the later one counts.
  const members = new Map<string, Tagged>();
  for (const [key, item] of value) {
    const [, sign = "", digits] = /^(-?)0*([1-9]\d*|0)$/.exec(key) ?? [];
    if (digits === undefined) return undefined;
    members.set(`${sign}${digits}`, taggedOf(item));
  }
  return { d: [...members].map(([digits, item]) => [integerTag(digits), item]) };
}

function integerTag(digits: string): Tagged {
  const small = Number(digits);
  return Number.isSafeInteger(small) ? small + 0 : { i: digits };
}
