// Fuzz target: the answer parser and everything in the training process that works on its trees. Whatever the text,
// nothing throws, nothing takes long, and an answer that is written like the gold answer is correct.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { seededRandom } from "../src/__fixtures__/seeded-random.ts";
import { decideAtOnce } from "../src/math/decide.ts";
import { aceReasonQuestion } from "../src/math/mode-acereason.ts";
import { mathVerifyQuestion } from "../src/math/mode-mathverify.ts";
import { strictEqual, strictQuestion } from "../src/math/mode-strict.ts";
import { parseAnswer } from "../src/math/parse-list.ts";

/** Milliseconds of processor time that one input may take in all modes together. */
const inputMillisecondsMax = 2000;

const pieces =
  String.raw`\frac \sqrt \sqrt[ \left( \right) \left[ \right] \{ \} { } ( ) [ ] , ; : = < > \le \ge \in \cup \setminus \pm + - * / ^ _ ! ' | % \% ^\circ
\text{ \mathrm{ \text{cm} \text{and} or \begin{pmatrix} \end{pmatrix} & \\ \boxed{ $ \( \) \[ \] \sin \log_ \pi \infty \sum_{k=1}^{ \binom \overline{ \approx \$ ... e i x 0 1 9 12 .5 1,234 999999999999 \, \! ~ \ `.split(
    /\s+/,
  );

const corpus = readFileSync(join(import.meta.dir, "answers.corpus.txt"), "utf8")
  .split("\n")
  .filter((line) => line !== "");

/** A text made of the corpus: cut, joined, repeated, with pieces put in. */
function mutated(random: () => number): string {
  const choose = <T>(items: readonly T[], otherwise: T): T => items[Math.floor(random() * items.length)] ?? otherwise;
  let text = choose(corpus, "5");
  for (let change = Math.floor(random() * 6); change >= 0; change--) {
    const at = Math.floor(random() * (text.length + 1));
    const end = Math.min(text.length, at + 1 + Math.floor(random() * 8));
    const kind = Math.floor(random() * 6);
    if (kind <= 1) text = text.slice(0, at) + choose(pieces, "{") + text.slice(at);
    else if (kind === 2) text = text.slice(0, at) + text.slice(end);
    else if (kind === 3) text = text.slice(0, end) + text.slice(at);
    else if (kind === 4) text = text.slice(0, at) + choose(corpus, "").slice(Math.floor(random() * 20));
    else text = text.slice(0, at) + text.slice(at, end).repeat(1 + Math.floor(random() * 60)) + text.slice(end);
  }
  return text.slice(0, 6000);
}

/** What is wrong with the judging of two texts, or undefined. */
export function complaint(gold: string, answer: string): string | undefined {
  const began = process.cpuUsage();
  const questions = [
    strictEqual([gold], answer),
    strictQuestion([gold], `so \\boxed{${answer}}`, ""),
    mathVerifyQuestion([gold], answer),
    aceReasonQuestion([gold], `so \\boxed{${answer}}`),
  ];
  for (const question of questions) if ("comparison" in question) decideAtOnce(question.comparison);
  const { user, system } = process.cpuUsage(began);
  if (user + system > inputMillisecondsMax * 1000) return `took ${Math.round((user + system) / 1000)} ms`;
  const itself = strictEqual([gold], gold);
  if (parseAnswer(gold).plain !== "" && !/\\(?:boxed|fbox)/.test(gold)) {
    const isCorrect = "verdict" in itself && itself.verdict.status === "graded" && itself.verdict.score === 1;
    if (!isCorrect) return "is not equal to itself";
  }
  return undefined;
}

/** Runs from a seed while `goesOn`; gives the number of inputs, or throws with the input that failed. */
export function fuzz(seed: number, goesOn: (inputs: number) => boolean): number {
  const random = seededRandom(seed);
  let inputs = 0;
  for (; goesOn(inputs); inputs++) {
    const [gold, answer] = [mutated(random), mutated(random)];
    let wrong: string | undefined;
    try {
      wrong = complaint(gold, answer);
    } catch (error) {
      wrong = `threw ${error instanceof Error ? error.stack : String(error)}`;
    }
    if (wrong !== undefined) throw new Error(`${JSON.stringify({ gold, answer })} ${wrong}`);
  }
  return inputs;
}
