// How much a test may print: enough for its right output, however large that is.
import { type Limits, limitsMax } from "../sandbox/protocol.ts";
import { defaultLimits } from "../sandbox/sandbox.ts";
import type { Tagged } from "../sandbox/tagged.ts";
import type { CallTest, StdinTest } from "./problem.ts";

/** `limits` with room for twice the expected output where that is more than they allow, up to what the sandbox can give. */
export function limitsFor(test: StdinTest | CallTest, limits: Partial<Limits>): Partial<Limits> {
  const expectedBytes =
    "output" in test ? Buffer.byteLength(test.output) : Math.max(0, ...test.accepted.map(answerBytesMax));
  const outputBytes = Math.max(limits.outputBytes ?? defaultLimits.outputBytes, 2 * expectedBytes);
  return { ...limits, outputBytes: Math.min(limitsMax.outputBytes, outputBytes) };
}

// The driver writes JSON in ASCII. A character beyond it has two bytes or more in UTF-8, and six in such JSON.
function answerBytesMax(value: Tagged): number {
  const text = JSON.stringify(value);
  return text.length + 5 * (Buffer.byteLength(text) - text.length);
}
