// Whole powers of floats, correctly rounded as C's pow gives them; JavaScript's `**` multiplies and loses digits.

/** x to a power of 0 or more. */
export function floatPower(x: number, power: number): number {
  if (power === 0) return 1;
  if (!Number.isFinite(x) || x === 0) return x ** power;
  const [mantissa, exponent] = parts(x);
  return rounded(mantissa ** BigInt(power), exponent * power);
}

/** x = mantissa · 2^exponent, exactly. */
function parts(x: number): [bigint, number] {
  const bits = new BigInt64Array(new Float64Array([x]).buffer)[0] ?? 0n;
  const field = Number((bits >> 52n) & 0x7ffn);
  const fraction = bits & 0xf_ffff_ffff_ffffn;
  const mantissa = field === 0 ? fraction : fraction | (1n << 52n);
  return [x < 0 ? -mantissa : mantissa, Math.max(field, 1) - 1075];
}

// Only 100 leading bits and whether any bit follows decide how a number is rounded.
function rounded(value: bigint, exponent: number): number {
  const size = value < 0n ? -value : value;
  const surplus = Math.max(0, size.toString(16).length * 4 - 100);
  const kept = size >> BigInt(surplus);
  const isExact = kept << BigInt(surplus) === size;
  const number = scaled(Number(isExact ? kept : kept | 1n), exponent + surplus);
  return value < 0n ? -number : number;
}

// 2^exponent may lie beyond the floats where the product does not.
function scaled(value: number, exponent: number): number {
  const half = Math.trunc(exponent / 2);
  return value * 2 ** half * 2 ** (exponent - half);
}
