// The mode `mathverify`, for parity with Math-Verify 0.8: its extraction from free text and its conventions of equality.
import { fault } from "../verdict.ts";
import { type AnswerQuestion, noAnswer, sameText, settled } from "./answer-question.ts";
import { equalLoosely, type MathVerifyRules, mathVerifyRules } from "./compare-mathverify.ts";
import { call, type Expression, number } from "./expression.ts";
import { allBoxes, type Candidate, candidatesIn, type MatchType } from "./mathverify-extract.ts";
import { parseAnswer } from "./parse-list.ts";

export type MathVerifyOptions = Partial<MathVerifyRules> & { readonly matchTypes?: readonly MatchType[] };

/** What was found in a text: its readings, and the text of the first place for comparison as written. */
type Extracted = { readonly readings: readonly Expression[]; readonly plain: string };

/**
 * Whether a bare answer counts as one of the gold answers. Where the types of matches are said, the answer is a text in
 * which they are looked for; else bare LaTeX is taken as it stands.
 */
export function mathVerifyEqual(
  golds: readonly string[],
  answer: string,
  options: MathVerifyOptions = {},
): AnswerQuestion {
  const isBare = options.matchTypes === undefined && !hasDelimiters(answer) && answer.trim() !== "";
  const readings = isBare ? parseAnswer(answer).readings : [];
  const isMathematics = readings.some(({ kind }) => kind !== "text");
  return mathVerifyQuestion(golds, isMathematics ? `$${answer.replace(/\n/g, " ")}$` : answer, options);
}

/** Whether what is found in the response counts as what is found in one of the gold texts. */
export function mathVerifyQuestion(
  golds: readonly string[],
  response: string,
  options: MathVerifyOptions = {},
): AnswerQuestion {
  const types = options.matchTypes ?? ["latex", "expr"];
  const rules = { ...mathVerifyRules, ...options };
  const usable = golds.filter((gold) => gold.trim() !== "");
  if (usable.length === 0) return settled(fault("the gold answer is empty"));
  const expected = usable.map((gold) => extract(delimited(gold, types), types)).filter((found) => found !== undefined);
  if (expected.length === 0) return settled(fault("the gold answer cannot be parsed"));
  const given = extract(response, types);
  if (!given) return noAnswer;
  if (expected.some(({ plain }) => plain !== "" && plain === given.plain)) return sameText;
  const golden = expected.flatMap(({ readings }) => readings);
  return {
    comparison: (equal) => golden.some((a) => given.readings.some((b) => equalLoosely(a, b, rules, equal))),
  };
}

// A gold answer is often bare LaTeX; it is then given the delimiters that extraction looks for.
function delimited(gold: string, types: readonly MatchType[]): string {
  return hasDelimiters(gold) || !types.includes("latex") ? gold : `$${gold.replace(/\n/g, " ")}$`;
}

function hasDelimiters(text: string): boolean {
  return /(?<!\\)\$|\\boxed|\\\(|\\\[/.test(text);
}

/** The first place, by priority and from the end, that can be read; else the text of the first place. */
function extract(text: string, types: readonly MatchType[]): Extracted | undefined {
  let plain: string | undefined;
  for (const group of candidatesIn(text, types)) {
    for (const place of group) {
      const { readings, plain: written } = read(place);
      if (written !== "") plain ??= written;
      if (readings.length > 0) return { readings, plain: plain ?? written };
    }
  }
  return plain === undefined ? undefined : { readings: [], plain };
}

function read({ pieces }: Candidate): Extracted {
  const parsed = pieces.map(({ text, isPercent, isPlain }) => {
    const { readings, plain } = parseAnswer(normalized(isPlain ? text : allBoxes(text)));
    return { readings: isPercent ? readings.map(hundredth) : readings, plain };
  });
  const [only] = parsed;
  if (parsed.length === 1 && only) return { readings: only.readings.slice(0, 1), plain: only.plain };
  const items: Expression[] = [];
  for (const { readings } of parsed) {
    const [first] = readings;
    if (!first) return { readings: [], plain: parsed[0]?.plain ?? "" };
    if (first.kind === "sequence" && (first.open === "" || first.open === "{")) items.push(...first.items);
    else items.push(first);
  }
  return {
    readings: [{ kind: "sequence", open: "{", close: "}", items }],
    plain: parsed.map(({ plain }) => plain).join(" and "),
  };
}

function hundredth(expression: Expression): Expression {
  return call("divide", expression, number(100n));
}

// Some sources double every backslash; between the rows of a matrix it belongs there.
function normalized(text: string): string {
  const single = text.includes("\\begin") ? text : text.replace(/(?<!\\)\\\\(?=[a-zA-Z{}])/g, "\\");
  return single.replace(/\\\$|\$/g, " ");
}
