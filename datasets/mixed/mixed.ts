// The rows of the mixed data set: single-digit arithmetic with a boxed answer, and one-line programs with tests.

/** How a row is judged says its source: `math` has an answer, `code` has tests. */
export type MixedRow = {
  readonly id: string;
  readonly source: "math" | "code";
  readonly problem: string;
  readonly solution: string;
  readonly answer?: string;
  readonly tests?: {
    readonly inputs: readonly string[];
    readonly outputs: readonly string[];
    readonly fn_name?: string;
  };
  readonly starter?: string;
};

/** `python` computes what `value` does. */
type Operation = {
  readonly sign: string;
  readonly words: string;
  readonly python: string;
  readonly value: (a: number, b: number) => number;
};

const operations: readonly Operation[] = [
  { sign: "+", words: "sum", python: "a+b", value: (a, b) => a + b },
  { sign: "-", words: "difference", python: "a-b", value: (a, b) => a - b },
  { sign: "*", words: "product", python: "a*b", value: (a, b) => a * b },
  { sign: "max", words: "larger", python: "max(a,b)", value: Math.max },
  { sign: "min", words: "smaller", python: "min(a,b)", value: Math.min },
];

/** Pairs on which all operations differ, so that no program passes the tests of another. */
const testPairs = [
  [7, 3],
  [2, 9],
  [-4, 5],
] as const;

const block = (code: string) => `\`\`\`python\n${code}\n\`\`\``;

/** All rows, math first. */
export function mixedRows(): MixedRow[] {
  return [...mathRows(), ...operations.map(programRow), ...operations.map(functionRow)];
}

function mathRows(): MixedRow[] {
  const rows: MixedRow[] = [];
  for (const { sign, value } of operations.slice(0, 3)) {
    for (let a = 1; a <= 4; a++) {
      for (const b of [2, 3, 5]) {
        const answer = String(value(a, b));
        const problem = `${a}${sign}${b}=`;
        rows.push({ id: `math-${rows.length}`, source: "math", problem, answer, solution: `\\boxed{${answer}}` });
      }
    }
  }
  return rows;
}

/** A program that reads two numbers from stdin and writes one. */
function programRow({ words, python, value }: Operation): MixedRow {
  return {
    id: `program-${words}`,
    source: "code",
    problem: `print the ${words} of two:`,
    solution: block(`a,b=map(int,input().split())\nprint(${python})`),
    tests: {
      inputs: testPairs.map(([a, b]) => `${a} ${b}\n`),
      outputs: testPairs.map(([a, b]) => `${value(a, b)}\n`),
    },
  };
}

/** A function of two numbers, called with JSON arguments, a line each. */
function functionRow({ words, python, value }: Operation): MixedRow {
  return {
    id: `function-${words}`,
    source: "code",
    problem: `def f: the ${words} of two:`,
    solution: block(`def f(a,b):\n return ${python}`),
    tests: {
      fn_name: "f",
      inputs: testPairs.map(([a, b]) => `${a}\n${b}`),
      outputs: testPairs.map(([a, b]) => `${value(a, b)}`),
    },
    starter: "def f(a,b):",
  };
}
