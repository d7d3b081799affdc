// Decides one comparison: first with what can be told at once, then with the symbolic engine's answers to what is open.
import { type Expression, keyOf, somePart, variablesOf } from "./expression.ts";
import { mayBeComplex, probePoints } from "./floating.ts";
import { type MathJson, toMathJson } from "./math-json.ts";
import { BudgetSpent } from "./operation-budget.ts";
import { compareScalars, type ScalarAnswer } from "./scalar-equality.ts";

/** A question for the symbolic engine: pairs of values to compare at 50 digits, or one difference to simplify. */
export type SymbolicQuestion = {
  readonly values: readonly (readonly [MathJson, MathJson])[];
  readonly simplify?: readonly [MathJson, MathJson];
  readonly complexAllowed: boolean;
};

export type SymbolicAnswer = "equal" | "different" | { readonly fault: string };
/** Asks the symbolic engine; never throws. */
export type AskSymbolic = (question: SymbolicQuestion) => Promise<SymbolicAnswer>;

/** A comparison as a program that asks for scalar equalities; more "yes" may only turn its "no" into "yes". */
export type Comparison = (equal: (a: Expression, b: Expression) => boolean) => boolean;

export type Decision =
  | { readonly is: "equal" | "different"; readonly method: "exact" | "numeric" | "symbolic" }
  | { readonly is: "timeout"; readonly detail: string }
  | { readonly is: "fault"; readonly reason: string };

// Scalars that one comparison may ask about, and questions it may put to the engine.
const scalarsMax = 2000;
const roundsMax = 8;

/** What is decided without the engine, or the questions that are open. */
type Attempt = { decision?: Decision; open: Map<string, SymbolicQuestion | undefined> };

/** Decides the comparison. The result does not depend on the time that anything takes, unless it is a fault. */
export async function decide(comparison: Comparison, ask: AskSymbolic): Promise<Decision> {
  const known = new Map<string, ScalarAnswer>();
  let usedEngine = false;
  for (let round = 0; round < roundsMax; round++) {
    const { decision, open } = attempt(comparison, known);
    if (decision)
      return usedEngine && decision.is !== "timeout" && decision.is !== "fault"
        ? { is: decision.is, method: "symbolic" }
        : decision;
    const answers = await Promise.all(
      [...open].map(async ([key, question]) => [key, question && (await ask(question))] as const),
    );
    for (const [key, answer] of answers) {
      if (typeof answer === "object") return { is: "fault", reason: answer.fault };
      known.set(key, answer ?? "different");
    }
    usedEngine = true;
  }
  return { is: "timeout", detail: `more than ${roundsMax} rounds of symbolic questions` };
}

/** The decision, where it needs no engine; else undefined. For callers that cannot wait. */
export function decideAtOnce(comparison: Comparison): Decision | undefined {
  return attempt(comparison, new Map()).decision;
}

// Once with every open equality taken as "yes", once as "no": where both agree, the open ones do not matter.
function attempt(comparison: Comparison, known: Map<string, ScalarAnswer>): Attempt {
  const open = new Map<string, SymbolicQuestion | undefined>();
  let tooLarge: string | undefined;
  let scalars = 0;
  let isNumeric = false;
  const asker = (whenOpen: boolean) => (a: Expression, b: Expression) => {
    const key = `${keyOf(a)} ${keyOf(b)}`;
    let answer = known.get(key);
    if (answer === undefined) {
      if (++scalars > scalarsMax) throw new BudgetSpent("too many parts to compare");
      try {
        answer = compareScalars(a, b);
      } catch (error) {
        if (!(error instanceof BudgetSpent)) throw error;
        tooLarge = error.message;
        answer = "different";
      }
      known.set(key, answer);
    }
    if (answer === "equal" || answer === "different") return answer === "equal";
    isNumeric = true;
    if (!open.has(key)) open.set(key, questionOf(a, b, answer));
    return whenOpen;
  };
  try {
    const best = comparison(asker(true));
    if (!best)
      return {
        decision:
          tooLarge === undefined
            ? { is: "different", method: isNumeric ? "numeric" : "exact" }
            : { is: "timeout", detail: tooLarge },
        open,
      };
    if (comparison(asker(false))) return { decision: { is: "equal", method: "exact" }, open };
    return { open };
  } catch (error) {
    if (error instanceof BudgetSpent) return { decision: { is: "timeout", detail: error.message }, open };
    throw error;
  }
}

// Simplification is unbounded work, so only small expressions without large powers are simplified.
const simplifyPartsMax = 40;
/** Parts that the engine evaluates for one question, at all points together: some 100 ms, so that no load makes it late. */
const evaluatedPartsMax = 1500;
const pointsMin = 2;
const digitsMax = 4000;

function questionOf(a: Expression, b: Expression, answer: ScalarAnswer): SymbolicQuestion | undefined {
  if (isLong(a) || isLong(b)) return undefined;
  if (answer === "open") {
    const [left, right] = [toMathJson(a, undefined), toMathJson(b, undefined)];
    const isSmall = countParts(a) + countParts(b) <= simplifyPartsMax && !hasLargePower(a) && !hasLargePower(b);
    if (left === undefined || right === undefined || !isSmall) return undefined;
    return { values: [], simplify: [left, right], complexAllowed: true };
  }
  const points = probePoints(variablesOf(b, variablesOf(a)));
  const affordable = Math.floor(evaluatedPartsMax / (countParts(a) + countParts(b)));
  if (affordable < Math.min(pointsMin, points.length))
    throw new BudgetSpent("the expressions are too large to evaluate");
  const values = points.flatMap((point): [MathJson, MathJson][] => {
    const [left, right] = [toMathJson(a, point), toMathJson(b, point)];
    return left !== undefined && right !== undefined ? [[left, right]] : [];
  });
  if (values.length === 0) return undefined;
  return { values: values.slice(0, affordable), complexAllowed: mayBeComplex(a, b) };
}

function isLong(a: Expression): boolean {
  return somePart(a, (part) => part.kind === "number" && part.value.numerator.toString(16).length > digitsMax);
}

function countParts(a: Expression): number {
  let count = 0;
  somePart(a, () => {
    count++;
    return false;
  });
  return count;
}

function hasLargePower(a: Expression): boolean {
  return somePart(a, (part) => {
    if (part.kind !== "call") return false;
    if (part.name === "factorial" || part.name === "sum" || part.name === "prod") return true;
    const exponent = part.args[1];
    return part.name === "power" && exponent?.kind === "number" && exponent.value.numerator > 12n;
  });
}
