import { expect, test } from "bun:test";
import { createLoader } from "./loader.ts";
import { shuffle } from "./shuffle.ts";

test("a shuffle is a permutation, and another one for each seed, epoch, stage and purpose", () => {
  const order = shuffle(1, 0, 1000);
  expect([...order].sort((a, b) => a - b)).toEqual(Array.from({ length: 1000 }, (_, index) => index));
  expect(shuffle(1, 0, 1000)).toEqual(order);
  const sft = shuffle(1, 0, 1000, { purpose: "shuffle-sft" });
  for (const other of [shuffle(2, 0, 1000), shuffle(1, 1, 1000), shuffle(1, 0, 1000, { stage: 1 }), sft]) {
    const fixed = other.filter((value, place) => value === order[place]).length;
    expect(fixed).toBeLessThan(10); // a shared place is expected once in 1,000
  }
});

test("every order of three items is about equally likely", () => {
  const counts = new Map<string, number>();
  for (let seed = 0; seed < 6000; seed++) {
    const order = shuffle(seed, 0, 3).join("");
    counts.set(order, (counts.get(order) ?? 0) + 1);
  }
  expect(counts.size).toBe(6);
  for (const count of counts.values()) expect(Math.abs(count - 1000)).toBeLessThan(150); // five standard deviations
});

test("the order of a seed never changes: runs resume over releases", () => {
  // Computed apart, in Python, from streams that crates/model gave.
  expect([...shuffle(1, 0, 10)]).toEqual([3, 9, 6, 8, 7, 4, 0, 1, 2, 5]);
  expect([...shuffle(1, 0, 10, { purpose: "shuffle-sft" })]).toEqual([4, 5, 3, 9, 8, 2, 1, 7, 6, 0]);
  expect([...shuffle(1, 7, 10, { stage: 3 })]).toEqual([1, 0, 7, 6, 5, 9, 4, 3, 8, 2]);
});

test("batches cover each epoch once and never cross its end", () => {
  const items = ["a", "b", "c", "d", "e"];
  const loader = createLoader(items, { seed: 3, epochs: 2 });
  const seen: string[][] = [];
  const epochs: number[] = [];
  let cursor = 0;
  for (let drawn = loader.take(cursor, 2); drawn; drawn = loader.take(cursor, 2)) {
    seen.push(drawn.items);
    epochs.push(drawn.epoch);
    cursor = drawn.nextCursor;
  }
  expect(seen.map(({ length }) => length)).toEqual([2, 2, 1, 2, 2, 1]);
  expect(epochs).toEqual([0, 0, 0, 1, 1, 1]);
  expect(seen.slice(0, 3).flat().sort()).toEqual(items);
  expect(seen.slice(3).flat().sort()).toEqual(items);
});

test("what a cursor gives does not depend on what was taken before", () => {
  const items = Array.from({ length: 10 }, (_, index) => index);
  const walked = createLoader(items, { seed: 5 });
  for (let cursor = 0; cursor < 30; ) cursor = walked.take(cursor, 4)?.nextCursor ?? 30;
  const fresh = createLoader(items, { seed: 5 });
  expect(fresh.take(14, 4)).toEqual(walked.take(14, 4));
});

test("a share of an epoch ends in its middle", () => {
  const loader = createLoader([0, 1, 2, 3], { seed: 1, epochs: 1.5 });
  expect(loader.take(4, 4)?.items).toHaveLength(2);
  expect(loader.take(6, 4)).toBeUndefined();
});

test("no items are refused", () => {
  expect(() => createLoader([], { seed: 1 })).toThrow("no rows");
});
