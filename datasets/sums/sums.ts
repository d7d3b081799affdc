// The sums task: chains that begin with a two-digit term, every running result taken modulo 100, and the work shown.
import { philox4x32, philoxKey } from "../../packages/data/src/philox.ts";

/** `solution` is the teacher's response; `answer` its last word. */
export type SumRow = { readonly prompt: string; readonly answer: string; readonly solution: string };

/** An endless sequence of random numbers below a bound, a pure function of seed and stream. */
export function randomSource(seed: number, stream: number): (bound: number) => number {
  const key = philoxKey(seed);
  let drawn = 0;
  return (bound) => {
    const [word] = philox4x32([drawn++, 0, stream, 0], key);
    return Math.floor((word / 2 ** 32) * bound);
  };
}

/** A problem such as `37+5-9=`: a term of two digits, `terms` − 1 of one, its steps and its answer. */
export function drawProblem(
  random: (bound: number) => number,
  terms: number,
): { prompt: string; steps: string[]; answer: string } {
  // Results always have two digits: copying a number of unknown width takes a small policy far longer to learn.
  let result = String(10 + random(90));
  let prompt = result;
  const steps: string[] = [];
  for (let place = 1; place < terms; place++) {
    const term = 1 + random(9);
    const sign = random(2) === 0 ? "+" : "-";
    const next = (Number(result) + (sign === "+" ? term : 100 - term)) % 100;
    const written = String(next).padStart(2, "0");
    // The left side is repeated: a running result without it is much harder to learn.
    steps.push(`${result}${sign}${term}=${written}`);
    prompt += `${sign}${term}`;
    result = written;
  }
  return { prompt: `${prompt}=`, steps, answer: result };
}
