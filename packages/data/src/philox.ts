// Philox4x32-10, the one random generator of the project, as a pure function of counter and key (Salmon et al. 2011).
// The same function and the same known answers as in crates/ops, so that a seed means the same numbers everywhere.

export type PhiloxCounter = readonly [number, number, number, number];
export type PhiloxKey = readonly [number, number];

const multipliers = [0xd2511f53, 0xcd9e8d57] as const;
const keySteps = [0x9e3779b9, 0xbb67ae85] as const;
const rounds = 10;

/** Four random 32-bit words for a counter of four and a key of two 32-bit words. */
export function philox4x32([c0, c1, c2, c3]: PhiloxCounter, [k0, k1]: PhiloxKey): PhiloxCounter {
  let [a, b, c, d, key0, key1] = [c0, c1, c2, c3, k0, k1];
  for (let round = 0; round < rounds; round++) {
    const low0 = Math.imul(multipliers[0], a) >>> 0;
    const high0 = multiplyHigh(multipliers[0], a);
    const low1 = Math.imul(multipliers[1], c) >>> 0;
    const high1 = multiplyHigh(multipliers[1], c);
    [a, b, c, d] = [(high1 ^ b ^ key0) >>> 0, low1, (high0 ^ d ^ key1) >>> 0, low0];
    key0 = (key0 + keySteps[0]) >>> 0;
    key1 = (key1 + keySteps[1]) >>> 0;
  }
  return [a, b, c, d];
}

/** The key of a 64-bit seed: its low and high word. */
export function philoxKey(seed: bigint | number): PhiloxKey {
  const bits = BigInt.asUintN(64, BigInt(seed));
  return [Number(bits & 0xffffffffn), Number(bits >> 32n)];
}

/** The high 32 bits of the product of two 32-bit words, by 16-bit halves, which stay exact in doubles. */
function multiplyHigh(a: number, b: number): number {
  const [aLow, aHigh, bLow, bHigh] = [a & 0xffff, a >>> 16, b & 0xffff, b >>> 16];
  const low = aLow * bLow;
  const middle = aHigh * bLow + (low >>> 16);
  const carry = aLow * bHigh + (middle % 0x10000);
  return (aHigh * bHigh + Math.floor(middle / 0x10000) + Math.floor(carry / 0x10000)) >>> 0;
}
