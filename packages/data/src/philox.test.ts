import { expect, test } from "bun:test";
import { type PhiloxCounter, type PhiloxKey, philox4x32, philoxKey } from "./philox.ts";

const max = 0xffffffff;

test("the published known answers (Random123, tests/kat_vectors, philox4x32 10)", () => {
  const cases: [PhiloxCounter, PhiloxKey, PhiloxCounter][] = [
    [
      [0, 0, 0, 0],
      [0, 0],
      [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8],
    ],
    [
      [max, max, max, max],
      [max, max],
      [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd],
    ],
    [
      [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
      [0xa4093822, 0x299f31d0],
      [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
    ],
  ];
  for (const [counter, key, words] of cases) expect(philox4x32(counter, key)).toEqual(words);
});

test("a seed's low word comes first", () => {
  expect(philoxKey(0x299f31d0a4093822n)).toEqual([0xa4093822, 0x299f31d0]);
  expect(philoxKey(7)).toEqual([7, 0]);
});
