import { expect, test } from "bun:test";
import { floatPower } from "./float-power.ts";

// Values of CPython's math.pow; JavaScript's own power differs from most of them in the last digit.
const powers: readonly (readonly [number, number, number])[] = [
  [0.9762429492718849, 24, 0.5615518300429252],
  [5.11704740692165, 13, 1649121777.0842392],
  [-0.1270561296381643, 23, -2.4654676097987256e-21],
  [17585.00327939687, 5, 1.6815596134412006e21],
  [28.642364005908235, 12, 3.0486412166092755e17],
  [34607.04999193779, 5, 4.963898602408547e22],
  [73193.37999149866, 12, 2.3640770908777432e58],
  [-87640.54116168436, 22, 5.489226011034006e108],
  [2.0, 1000, 1.0715086071862673e301],
  [0.1, 3, 0.0010000000000000002],
  [-0.5, 1074, 5e-324],
  [10.0, 400, Number.POSITIVE_INFINITY],
  [-3.0, 0, 1.0],
];

test("powers have the bits that C's pow gives", () => {
  for (const [x, power, value] of powers) expect([x, power, floatPower(x, power)]).toEqual([x, power, value]);
  expect(powers.some(([x, power, value]) => x ** power !== value)).toBe(true);
});
