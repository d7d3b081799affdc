// Works out sums, products and powers of matrices, so that a matrix answer is compared entry by entry.
import { call, type Expression, number } from "./expression.ts";

type Rows = readonly (readonly Expression[])[];
const entriesMax = 400;
const powerMax = 8n;

/** The expression with every operation on matrices worked out where the shapes fit. */
export function workOutMatrices(expression: Expression): Expression {
  switch (expression.kind) {
    case "call": {
      const args = expression.args.map(workOutMatrices);
      return combine(expression.name, args) ?? { ...expression, args };
    }
    case "sequence":
    case "relation":
      return { ...expression, items: expression.items.map(workOutMatrices) };
    default:
      return expression;
  }
}

function combine(name: string, args: readonly Expression[]): Expression | undefined {
  const [a, b] = args;
  if (!a || !args.some(({ kind }) => kind === "matrix")) return undefined;
  if (name === "negate") return mapEntries(a, (entry) => call("negate", entry));
  if (!b) return undefined;
  if (name === "add") return addMatrices(a, b);
  if (name === "divide") return b.kind === "matrix" ? undefined : mapEntries(a, (entry) => call("divide", entry, b));
  if (name === "power") return powerOf(a, b);
  if (name !== "multiply") return undefined;
  if (a.kind === "matrix" && b.kind === "matrix") return multiplyMatrices(a.rows, b.rows);
  return a.kind === "matrix"
    ? mapEntries(a, (entry) => call("multiply", entry, b))
    : mapEntries(b, (entry) => call("multiply", a, entry));
}

function mapEntries(matrix: Expression, change: (entry: Expression) => Expression): Expression | undefined {
  if (matrix.kind !== "matrix") return undefined;
  return { kind: "matrix", rows: matrix.rows.map((row) => row.map(change)) };
}

function addMatrices(a: Expression, b: Expression): Expression | undefined {
  if (a.kind !== "matrix" || b.kind !== "matrix" || a.rows.length !== b.rows.length) return undefined;
  const rows: Expression[][] = [];
  for (const [index, row] of a.rows.entries()) {
    const other = b.rows[index] ?? [];
    if (other.length !== row.length) return undefined;
    rows.push(row.map((entry, place) => call("add", entry, other[place] ?? number(0n))));
  }
  return { kind: "matrix", rows };
}

function multiplyMatrices(a: Rows, b: Rows): Expression | undefined {
  const width = b[0]?.length ?? 0;
  if (a.length * width > entriesMax || b.length > 20) return undefined;
  if (a.some((row) => row.length !== b.length) || b.some((row) => row.length !== width)) return undefined;
  const entry = (row: readonly Expression[], column: number) =>
    row
      .map((left, index) => call("multiply", left, b[index]?.[column] ?? number(0n)))
      .reduce((sum, product) => call("add", sum, product));
  return { kind: "matrix", rows: a.map((row) => Array.from({ length: width }, (_, column) => entry(row, column))) };
}

function powerOf(a: Expression, exponent: Expression): Expression | undefined {
  if (a.kind !== "matrix" || exponent.kind !== "number" || exponent.value.denominator !== 1n) return undefined;
  const times = exponent.value.numerator;
  if (times < 1n || times > powerMax || a.rows.length > 4) return undefined;
  let result: Expression | undefined = a;
  for (let count = 1n; count < times && result?.kind === "matrix"; count++)
    result = multiplyMatrices(result.rows, a.rows);
  return result;
}
