import { expect, test } from "bun:test";
import { mapAtMost } from "./map-at-most.ts";

test("results keep the items' order, and never more than so many are at work", async () => {
  let [running, most] = [0, 0];
  const results = await mapAtMost(3, [5, 1, 4, 2, 3, 0, 6], async (item) => {
    running++;
    most = Math.max(most, running);
    // Items end in another order than they began.
    for (let turn = 0; turn < item; turn++) await Promise.resolve();
    running--;
    return item * 10;
  });
  expect(results).toEqual([50, 10, 40, 20, 30, 0, 60]);
  expect(most).toBe(3);
  expect(await mapAtMost(3, [], async () => 1)).toEqual([]);
});

test("the first failure is the caller's, and no further item begins", async () => {
  const begun: number[] = [];
  const run = mapAtMost(2, [0, 1, 2, 3, 4], async (item) => {
    begun.push(item);
    if (item === 1) throw new Error("no");
    return item;
  });
  await expect(run).rejects.toThrow("no");
  expect(begun.length).toBeLessThan(5);
});
