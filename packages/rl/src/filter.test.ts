import { expect, test } from "bun:test";
import { filterGroups } from "./filter.ts";
import type { Group, Member } from "./group.ts";

const graded = (score: number) => ({ status: "graded", score, kind: score > 0 ? "correct" : "wrong" }) as const;
const fault = { status: "fault", reason: "worker died" } as const;

function group(
  promptIndex: number,
  start: number,
  members: readonly (number | "fault" | "cut" | "cut-correct")[],
): Group {
  return {
    promptIndex,
    members: members.map((what, place): Member => {
      const index = start + place;
      const truncated = what === "cut" || what === "cut-correct";
      const verdict = what === "fault" ? fault : graded(typeof what === "number" ? what : what === "cut" ? 0 : 1);
      return { index, length: 10, truncated, verdict };
    }),
  };
}

const inLossOf = (groups: readonly { survivors: readonly { index: number; inLoss: boolean }[] }[]) =>
  groups.map(({ survivors }) => survivors.filter(({ inLoss }) => inLoss).map(({ index }) => index));

test("exclude takes truncated rollouts out of the group and counts them", () => {
  const filtered = filterGroups([group(0, 0, [1, 0, "cut", "cut"])], {
    overlongFiltering: "exclude",
    dropZeroVariance: true,
  });
  expect(filtered.groups[0]?.survivors.map(({ index }) => index)).toEqual([0, 1]);
  expect(filtered.dropped).toEqual({ truncated: 2, fault: 0, zeroStd: 0, tooSmall: 0 });
  expect([...filtered.scores]).toEqual([1, 0, Number.NaN, Number.NaN]);
});

test("mask keeps them with score 0, out of the loss, even where the response was right", () => {
  const filtered = filterGroups([group(0, 0, [1, 0, "cut-correct"])], {
    overlongFiltering: "mask",
    dropZeroVariance: true,
  });
  expect(filtered.groups[0]?.survivors).toEqual([
    { index: 0, score: 1, length: 10, inLoss: true },
    { index: 1, score: 0, length: 10, inLoss: true },
    { index: 2, score: 0, length: 10, inLoss: false },
  ]);
  expect(filtered.dropped.truncated).toBe(1);
});

test("off trains on them with the reward they got", () => {
  const filtered = filterGroups([group(0, 0, [0, "cut-correct"])], {
    overlongFiltering: "off",
    dropZeroVariance: true,
  });
  expect(filtered.groups[0]?.survivors[1]).toEqual({ index: 1, score: 1, length: 10, inLoss: true });
  expect(filtered.dropped.truncated).toBe(0);
});

test("a fault leaves its group in every mode, counted apart from truncation", () => {
  for (const overlongFiltering of ["exclude", "mask", "off"] as const) {
    const filtered = filterGroups([group(0, 0, [1, 0, "fault"])], { overlongFiltering, dropZeroVariance: true });
    expect(inLossOf(filtered.groups)).toEqual([[0, 1]]);
    expect(filtered.dropped).toEqual({ truncated: 0, fault: 1, zeroStd: 0, tooSmall: 0 });
  }
});

test("a group of fewer than two survivors is dropped as too small, not as without variance", () => {
  const groups = [group(0, 0, [1, "cut", "cut"]), group(1, 3, ["cut", "cut", "fault"]), group(2, 6, [1, 0])];
  const filtered = filterGroups(groups, { overlongFiltering: "exclude", dropZeroVariance: true });
  expect(inLossOf(filtered.groups)).toEqual([[6, 7]]);
  expect(filtered.dropped).toEqual({ truncated: 4, fault: 1, zeroStd: 0, tooSmall: 2 });
});

test("groups without variance leave the batch, or stay when that is off", () => {
  const groups = [group(0, 0, [1, 1]), group(1, 2, [0, 0]), group(2, 4, [1, 0])];
  const dropping = filterGroups(groups, { overlongFiltering: "off", dropZeroVariance: true });
  expect(inLossOf(dropping.groups)).toEqual([[4, 5]]);
  expect(dropping.dropped.zeroStd).toBe(2);
  expect(dropping.scored).toHaveLength(3);
  const keeping = filterGroups(groups, { overlongFiltering: "off", dropZeroVariance: false });
  expect(inLossOf(keeping.groups)).toEqual([
    [0, 1],
    [2, 3],
    [4, 5],
  ]);
  expect(keeping.dropped.zeroStd).toBe(0);
});

test("variance is judged after filtering: the only failure was truncated", () => {
  const groups = [group(0, 0, [1, 1, "cut"])];
  expect(filterGroups(groups, { overlongFiltering: "exclude", dropZeroVariance: true }).dropped.zeroStd).toBe(1);
  expect(filterGroups(groups, { overlongFiltering: "mask", dropZeroVariance: true }).groups).toHaveLength(1);
});
