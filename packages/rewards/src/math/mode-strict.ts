// The mode `strict`, the default of rewards: the boxed answer after the thought, compared by kind, exactly, with no
// false positive before recall.
import { boxesOnLastLine, gradedPart, lastBoxed } from "../extract-answer.ts";
import { fault } from "../verdict.ts";
import { type AnswerQuestion, noAnswer, sameText, settled, unparsable } from "./answer-question.ts";
import { equalStrictly } from "./compare-strict.ts";
import { type ParsedAnswer, parseAnswer } from "./parse-list.ts";

/** The question that a response puts: is its boxed answer one of the gold answers? */
export function strictQuestion(golds: readonly string[], response: string, promptText: string): AnswerQuestion {
  const graded = gradedPart(response, promptText);
  const answer = graded === undefined ? undefined : lastBoxed(graded);
  if (graded === undefined || answer === undefined) return hasGold(golds) ?? noAnswer;
  const parsed = golds.map(parseGold);
  const isList = parsed.some(({ readings }) => readings.some(isSeveral));
  const boxes = isList ? boxesOnLastLine(graded) : [];
  return compareStrictly(parsed, boxes.length > 1 ? boxes.join(", ") : answer);
}

/** The question whether a bare answer is one of the gold answers. */
export function strictEqual(golds: readonly string[], answer: string): AnswerQuestion {
  return compareStrictly(golds.map(parseGold), lastBoxed(answer) ?? answer);
}

function parseGold(gold: string): ParsedAnswer {
  return parseAnswer(lastBoxed(gold) ?? gold);
}

function isSeveral(reading: ParsedAnswer["readings"][number]): boolean {
  return reading.kind === "sequence" && (reading.open === "" || reading.open === "{") && reading.items.length > 1;
}

function hasGold(golds: readonly string[]): AnswerQuestion | undefined {
  const isEmpty = golds.every((gold) => parseGold(gold).plain === "");
  return isEmpty ? settled(fault("the gold answer is empty")) : undefined;
}

function compareStrictly(golds: readonly ParsedAnswer[], answer: string): AnswerQuestion {
  const usable = golds.filter(({ plain }) => plain !== "");
  if (usable.length === 0) return settled(fault("the gold answer is empty"));
  const given = parseAnswer(answer);
  if (given.plain === "") return unparsable("the answer is empty");
  if (usable.some(({ plain }) => plain === given.plain)) return sameText;
  const parsed = usable.filter(({ readings }) => readings.length > 0);
  if (parsed.length === 0) return settled(fault("the gold answer cannot be parsed"));
  if (given.readings.length === 0) return unparsable("the answer is no mathematics that the parser knows");
  return {
    comparison: (equal) =>
      parsed.some((gold) => gold.readings.some((a) => given.readings.some((b) => equalStrictly(a, b, equal)))),
  };
}
