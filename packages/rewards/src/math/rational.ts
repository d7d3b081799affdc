// Exact numbers for comparing answers: integers, fractions and decimals as a quotient of BigInts, never floats.

export type Rational = { readonly numerator: bigint; readonly denominator: bigint };
