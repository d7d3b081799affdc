// numpy's `allclose` over tagged values, with its broadcasting: EvalPlus compares floats by it.
import type { Tagged } from "../sandbox/tagged.ts";
import { numberOf, type PythonNumber, sequenceOf } from "./python-value.ts";

type Complex = readonly [number, number];
/** A regular array: its shape and its numbers, the last index fastest. */
type NumberArray = { readonly shape: readonly number[]; readonly numbers: readonly Complex[] };

const relativeTolerance = 1e-7;
// Broadcasting can make the product of two arrays' lengths of them; numpy has no memory for many more either.
const elementsMax = 10_000_000;
// numpy has no array of more dimensions.
const rankMax = 64;
// Integers beyond 64 bits make numpy's array one of objects, of which it takes no distance.
const integerMax = 2n ** 64n;

/** Whether |a − b| ≤ absolute + 1e-7·|b| everywhere; false where numpy would raise: text, uneven lists, shapes apart. */
export function allClose(a: Tagged, b: Tagged, absolute: number): boolean {
  const [x, y] = [arrayOf(a), arrayOf(b)];
  const shape = x && y && broadcast(x.shape, y.shape);
  if (!x || !y || !shape) return false;
  const count = shape.reduce((product, length) => product * length, 1);
  if (count > elementsMax) return false;
  for (let index = 0; index < count; index++) {
    if (!isClose(elementAt(x, shape, index), elementAt(y, shape, index), absolute)) return false;
  }
  return true;
}

function isClose([re, im]: Complex, [otherRe, otherIm]: Complex, absolute: number): boolean {
  if (re === otherRe && im === otherIm) return true;
  const size = Math.hypot(otherRe, otherIm);
  return Number.isFinite(size) && Math.hypot(re - otherRe, im - otherIm) <= absolute + relativeTolerance * size;
}

function arrayOf(value: Tagged): NumberArray | undefined {
  const numbers: Complex[] = [];
  const shape = collect(value, numbers);
  return shape && { shape, numbers };
}

/** Puts the numbers into `numbers` and gives the shape; undefined where the value is no regular array. */
function collect(value: Tagged, numbers: Complex[]): readonly number[] | undefined {
  const number = numberOf(value);
  if (number !== undefined) {
    numbers.push(complexOf(number));
    return [];
  }
  const items = sequenceOf(value);
  if (items === undefined) return undefined;
  let inner: readonly number[] | undefined;
  for (const item of items) {
    const shape = collect(item, numbers);
    if (!shape || (inner && shape.join() !== inner.join())) return undefined;
    const scalar = numberOf(item);
    if (typeof scalar === "bigint" && (scalar >= integerMax || scalar < -integerMax / 2n)) return undefined;
    inner = shape;
  }
  const shape = [items.length, ...(inner ?? [])];
  return shape.length > rankMax ? undefined : shape;
}

function complexOf(number: PythonNumber): Complex {
  return typeof number === "object" ? number : [Number(number), 0];
}

function broadcast(a: readonly number[], b: readonly number[]): readonly number[] | undefined {
  const rank = Math.max(a.length, b.length);
  const shape: number[] = [];
  for (let axis = rank - 1; axis >= 0; axis--) {
    const [x, y] = [a[axis - rank + a.length] ?? 1, b[axis - rank + b.length] ?? 1];
    if (x !== y && x !== 1 && y !== 1) return undefined;
    shape.unshift(x === 1 ? y : x);
  }
  return shape;
}

function elementAt({ shape, numbers }: NumberArray, whole: readonly number[], index: number): Complex {
  let [left, offset, stride] = [index, 0, 1];
  for (let axis = whole.length - 1; axis >= 0; axis--) {
    const [length = 1, own = 1] = [whole[axis], shape[axis - whole.length + shape.length]];
    if (own !== 1) offset += (left % length) * stride;
    left = Math.floor(left / length);
    stride *= own;
  }
  return numbers[offset] ?? [Number.NaN, 0];
}
