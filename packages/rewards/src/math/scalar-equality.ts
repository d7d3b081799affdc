// Whether two scalars are equal, by a ladder from cheap to dear: written alike, rational, normal form, doubles. What is
// left open after that is a question for the symbolic engine.
import { type Expression, keyOf, somePart, variablesOf } from "./expression.ts";
import { probe, valueAt } from "./floating.ts";
import { NoNormalForm, normalContext, normalForm, proportion, rationalValue, sameNormalForm } from "./normal-form.ts";
import { BudgetSpent, type OperationBudget } from "./operation-budget.ts";

/** Operations for the exact and the floating half of one pair: some 10 ms at most. */
export const scalarOperationsMax = 20_000;

/** "close": equal as far as doubles can tell. "open": there are no values to compare; only algebra can tell. */
export type ScalarAnswer = "equal" | "different" | "close" | "open";

/** Compares two scalars without the engine. Throws BudgetSpent where a number is too large to work out. */
export function compareScalars(a: Expression, b: Expression): ScalarAnswer {
  if (keyOf(a) === keyOf(b)) return "equal";
  if (!isScalar(a) || !isScalar(b)) return "different";
  const exact = compareExactly(a, b);
  if (exact !== undefined && exact !== "too large") return exact;
  const probed = probe(a, b, { left: scalarOperationsMax });
  if (probed !== undefined) return probed;
  if (isBeyondDoubles(a) !== isBeyondDoubles(b) && (hasValue(a) || hasValue(b))) return "different";
  if (exact === "too large" || isLarge(a) || isLarge(b)) throw new BudgetSpent("the numbers are too large to work out");
  return variablesOf(b, variablesOf(a)).size > 0 ? "open" : "different";
}

// An exact number that no double can hold, such as one of 400 digits.
function isBeyondDoubles(a: Expression): boolean {
  const value = rationalOf(a);
  return value !== undefined && !hasValue(a);
}

function hasValue(a: Expression): boolean {
  return variablesOf(a).size === 0 && valueAt(a, new Map(), true, { left: scalarOperationsMax }) !== undefined;
}

// A number without a value in doubles, for having a power, root, factorial or exponential in it.
function isLarge(a: Expression): boolean {
  if (variablesOf(a).size > 0 || hasValue(a)) return false;
  return somePart(a, (part) => part.kind === "call" && growing.has(part.name));
}

const growing = new Set(["power", "factorial", "exp", "binomial", "sinh", "cosh"]);

function compareExactly(a: Expression, b: Expression): ScalarAnswer | "too large" | undefined {
  const budget: OperationBudget = { left: scalarOperationsMax };
  try {
    const context = normalContext(budget);
    const same = sameNormalForm(normalForm(a, context), normalForm(b, context), context);
    return same === undefined ? undefined : same ? "equal" : "different";
  } catch (error) {
    if (error instanceof BudgetSpent) return "too large";
    if (error instanceof NoNormalForm) return undefined;
    throw error;
  }
}

function isScalar(a: Expression): boolean {
  return !somePart(
    a,
    ({ kind }) => kind === "sequence" || kind === "matrix" || kind === "relation" || kind === "based",
  );
}

/** The exact value of a rational expression, else undefined; numbers too large count as undefined. */
export function rationalOf(a: Expression): { numerator: bigint; denominator: bigint } | undefined {
  try {
    return rationalValue(a, { left: scalarOperationsMax });
  } catch (error) {
    if (error instanceof BudgetSpent) return undefined;
    throw error;
  }
}

/** The rational c with a = c·b, or undefined where there is none (or too much work to find it). */
export function proportionOf(a: Expression, b: Expression): { numerator: bigint; denominator: bigint } | undefined {
  const budget: OperationBudget = { left: scalarOperationsMax };
  try {
    const context = normalContext(budget);
    return proportion(normalForm(a, context), normalForm(b, context), context);
  } catch (error) {
    if (error instanceof BudgetSpent || error instanceof NoNormalForm) return undefined;
    throw error;
  }
}
