// Complex numbers in doubles that carry a bound of their rounding error: what floating.ts computes with.

/** re + i·im, off by at most about `error`. */
export type Complex = { readonly re: number; readonly im: number; readonly error: number };

const epsilon = 2.3e-16;

export function complex(re: number, im = 0, error = epsilon * Math.hypot(re, im)): Complex {
  return { re, im, error };
}

export function size(a: Complex): number {
  return Math.hypot(a.re, a.im);
}

function rounded(re: number, im: number, error: number): Complex {
  return { re, im, error: error + 4 * epsilon * Math.hypot(re, im) };
}

export function plus(a: Complex, b: Complex): Complex {
  return rounded(a.re + b.re, a.im + b.im, a.error + b.error);
}

export function minus(a: Complex): Complex {
  return { re: -a.re, im: -a.im, error: a.error };
}

export function product(a: Complex, b: Complex): Complex {
  const error = size(a) * b.error + size(b) * a.error + a.error * b.error;
  return rounded(a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re, error);
}

/** 1/a; undefined where a may be 0. */
export function inverse(a: Complex): Complex | undefined {
  const square = a.re * a.re + a.im * a.im;
  const magnitude = Math.sqrt(square);
  if (!(magnitude > 4 * a.error) || square === 0) return undefined;
  return rounded(a.re / square, -a.im / square, (2 * a.error) / square);
}

/** The principal logarithm; undefined near 0. */
export function logarithm(a: Complex): Complex | undefined {
  const magnitude = size(a);
  if (!(magnitude > 4 * a.error)) return undefined;
  return rounded(Math.log(magnitude), Math.atan2(a.im, a.re), (2 * a.error) / magnitude + epsilon);
}

export function exponential(a: Complex): Complex | undefined {
  const magnitude = Math.exp(a.re);
  if (!Number.isFinite(magnitude)) return undefined;
  return rounded(magnitude * Math.cos(a.im), magnitude * Math.sin(a.im), 2 * magnitude * (a.error + epsilon * size(a)));
}

/** base^exponent on the principal branch, exactly signed for whole exponents; undefined where it has no value. */
export function raised(base: Complex, exponent: Complex): Complex | undefined {
  if (base.re === 0 && base.im === 0) return exponent.re > 0 ? complex(0) : undefined;
  if (exponent.im === 0 && Number.isInteger(exponent.re) && Math.abs(exponent.re) <= 64) {
    let result = complex(1, 0, 0);
    for (let index = 0; index < Math.abs(exponent.re); index++) result = product(result, base);
    return exponent.re < 0 ? inverse(result) : result;
  }
  const log = logarithm(base);
  const value = log && exponential(product(log, exponent));
  return value && isReal(base) && base.re > 0 && exponent.im === 0 ? { ...value, im: 0 } : value;
}

export function isReal(a: Complex): boolean {
  return Math.abs(a.im) <= 8 * a.error + 1e-300;
}
