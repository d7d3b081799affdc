// EvalPlus's rule and its special oracles, case by case (evalplus 0.3.1, eval/__init__.py and _special_oracle.py).
import { expect, test } from "bun:test";
import type { Tagged } from "../sandbox/tagged.ts";
import { evalPlusRule } from "./compare-evalplus.ts";
import type { EvalPlusTask } from "./evalplus-task.ts";

const task = (entry: string, dataset: "humaneval" | "mbpp" = "mbpp", tolerance = 0): EvalPlusTask => {
  return { id: `${dataset}/0`, dataset, entry, canonical: "", tolerance, base: [], plus: [] };
};
const f = (value: number): Tagged => ({ f: String(value) });

function accepts(of: EvalPlusTask, expected: Tagged, result: Tagged, values: readonly Tagged[] = []): boolean {
  return evalPlusRule(of)({ values, expected, result });
}

test("equal as in Python; floats within 1e-6 where floats alone are expected, of the same type", () => {
  const plain = task("f");
  expect(accepts(plain, [1, 2], [f(1), true])).toBe(false);
  expect(accepts(plain, [1, 1], [f(1), true])).toBe(true);
  expect(accepts(plain, [1], { t: [1] })).toBe(false);
  expect(accepts(plain, f(1), f(1.0000005))).toBe(true);
  expect(accepts(plain, f(1), f(1.00001))).toBe(false);
  expect(accepts(plain, f(1), { i: "1" })).toBe(true);
  expect(accepts(plain, [f(1), f(2)], { t: [f(1), f(2)] })).toBe(false);
  expect(accepts(plain, [f(1), f(2)], [f(1.0000005), f(2)])).toBe(true);
  expect(accepts(plain, [f(1), 2], [f(1.0000005), 2])).toBe(false);
  expect(accepts(plain, { f: "nan" }, { f: "nan" })).toBe(false);
});

test("the tolerance stays for the calls that follow, as it does in EvalPlus", () => {
  const rule = evalPlusRule(task("f"));
  const off = { values: [], expected: [f(1), 2], result: [f(1.0000005), 2] };
  expect(rule(off)).toBe(false);
  expect(rule({ values: [], expected: f(1), result: f(1) })).toBe(true);
  expect(rule(off)).toBe(true);
});

test("lists that count as sets, matches that only must not be None, answers of more than one kind", () => {
  expect(accepts(task("Diff"), [1, 2, 2], { t: [f(2), 1] })).toBe(true);
  expect(accepts(task("Diff"), [1], [[1]])).toBe(false);
  expect(accepts(task("Diff"), [], null)).toBe(false);
  expect(accepts(task("check_str"), { o: "Match" }, { o: "Match" })).toBe(true);
  expect(accepts(task("check_str"), null, { o: "Match" })).toBe(false);
  expect(accepts(task("check_str"), { o: "Match" }, true)).toBe(true);
  expect(accepts(task("check_str"), null, false)).toBe(true);
  expect(accepts(task("are_equivalent"), true, false)).toBe(true);
  expect(accepts(task("sum_div"), 7, 0)).toBe(true);
  expect(accepts(task("sum_div"), 7, 1)).toBe(false);
  // 3² + 2·3·√(1.5² + 4²) = 34.63…
  expect(accepts(task("surface_Area"), 33, 35, [3, 4])).toBe(true);
  expect(accepts(task("surface_Area"), 33, 34, [3, 4])).toBe(false);
  expect(accepts(task("digit_distance_nums"), 0, 6, [1, 256])).toBe(false);
  expect(accepts(task("digit_distance_nums"), 0, 12, [1, 256])).toBe(true);
  expect(accepts(task("digit_distance_nums"), 0, 5, [-1, 256])).toBe(false);
  // The same names in HumanEval+ have no oracle.
  expect(accepts(task("sum_div", "humaneval"), 7, 0)).toBe(false);
});

test("a zero of a polynomial is any zero", () => {
  const zero = task("find_zero", "humaneval", 1e-4);
  // (x − 1)(x − 2) = 2 − 3x + x²
  expect(accepts(zero, f(1), f(2), [[2, -3, 1]])).toBe(true);
  expect(accepts(zero, f(1), f(2.1), [[2, -3, 1]])).toBe(false);
  expect(accepts(zero, f(1), f(1e200), [[2, -3, 1]])).toBe(false);
  expect(accepts(zero, f(1), "1", [[2, -3, 1]])).toBe(false);
  expect(accepts(zero, f(1), { f: "nan" }, [[2, -3, 1]])).toBe(false);
});
