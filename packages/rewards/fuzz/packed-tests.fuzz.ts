// Fuzz target: problems as data sets write them, LiveCodeBench's packed tests above all. Changed as base64, as zlib data, as
// a pickle and as JSON, they are read into a problem or refused with a FormatError, in bounded time and memory; nothing in them
// is ever run.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { deflateSync, inflateSync } from "node:zlib";
import { seededRandom } from "../src/__fixtures__/seeded-random.ts";
import { unpackTests } from "../src/code/packed-tests.ts";
import { FormatError } from "../src/code/python-json.ts";
import { readProblem } from "../src/code/read-problem.ts";
import { mutatedBytes } from "./mutate-bytes.ts";

/** Milliseconds of processor time, and bytes once unpacked, that one input may take. */
const inputMillisecondsMax = 2000;
const unpackedBytesMax = 2 ** 20;

const corpus = readFileSync(join(import.meta.dir, "packed-tests.corpus.txt"), "utf8")
  .trimEnd()
  .split("\n");
const texts = corpus.map((packed) => Buffer.from(packed));
const pickles = corpus.flatMap((packed) => {
  try {
    return [Uint8Array.from(inflateSync(Buffer.from(packed, "base64")))];
  } catch {
    // One of them is cut off on purpose.
    return [];
  }
});

const jsonForms = [
  '{"inputs":["1 2\\n",["3","4"]],"outputs":["3\\n",["7"]]}',
  '{"inputs":["1\\n[2, 1.5]"],"outputs":["{\\"a\\": NaN}"],"fn_name":"add"}',
  '{"input_output":"{\\"inputs\\":[[1,[2]]],\\"outputs\\":[[{\\"1\\":2}]],\\"fn_name\\":\\"f\\"}"}',
  '{"public_test_cases":"[{\\"input\\":\\"1\\",\\"output\\":\\"2\\",\\"testtype\\":\\"functional\\"}]","metadata":"{\\"func_name\\":\\"f\\"}"}',
  '{"public_tests":{"input":["1"],"output":["2"]},"generated_tests":{"input":[],"output":[]}}',
  '[{"input":{"stdin":"1"},"output":{"stdout":"12345678901234567890"}}]',
].map((text) => Buffer.from(text));

/** What is wrong with the reading of `read`, or undefined. */
function complaint(read: () => unknown): string | undefined {
  const began = process.cpuUsage();
  try {
    read();
  } catch (error) {
    if (!(error instanceof FormatError)) return `threw ${error instanceof Error ? error.stack : String(error)}`;
    if (/\n/.test(error.message)) return `is refused in several lines: ${error.message}`;
  }
  const { user, system } = process.cpuUsage(began);
  return user + system > inputMillisecondsMax * 1000 ? `took ${Math.round((user + system) / 1000)} ms` : undefined;
}

/** Runs from a seed while `goesOn`; gives the number of inputs, or throws with the input that failed. */
export function fuzz(seed: number, goesOn: (inputs: number) => boolean): number {
  const random = seededRandom(seed);
  const choose = (from: readonly Uint8Array[]) => from[Math.floor(random() * from.length)] ?? new Uint8Array();
  const textOf = (bytes: Uint8Array) => Buffer.from(bytes).toString();
  const kinds = [
    () => textOf(mutatedBytes(choose(texts), texts, random)),
    () => Buffer.from(deflateSync(mutatedBytes(choose(pickles), pickles, random))).toString("base64"),
    () => Buffer.from(mutatedBytes(Buffer.from(textOf(choose(texts)), "base64"), texts, random)).toString("base64"),
  ];
  let inputs = 0;
  for (; goesOn(inputs); inputs++) {
    const kind = Math.floor(random() * 4);
    const input = kinds[kind]?.() ?? textOf(mutatedBytes(choose(jsonForms), jsonForms, random));
    const wrong =
      complaint(() => unpackTests(input, unpackedBytesMax)) ??
      complaint(() => readProblem(input)) ??
      complaint(() => readProblem({ public_test_cases: "", private_test_cases: input }));
    if (wrong !== undefined) throw new Error(`${JSON.stringify(input)} ${wrong}`);
  }
  return inputs;
}
