import { expect, test } from "bun:test";
import { stageEnd } from "./stage-end.ts";

test("steps end a stage at their number, not before", () => {
  expect(stageEnd({ steps: 3 }, 2, [])).toBeUndefined();
  expect(stageEnd({ steps: 3 }, 3, [])).toBe("steps");
});

test("a plateau: the last window gains less than the minimum over the one before", () => {
  const plateau = { window: 2, minGain: 0.1 };
  expect(stageEnd({ plateau }, 3, [0.1, 0.2, 0.2])).toBeUndefined(); // fewer than two windows
  expect(stageEnd({ plateau }, 4, [0.1, 0.2, 0.2, 0.4])).toBeUndefined(); // 0.3 − 0.15 = 0.15
  expect(stageEnd({ plateau }, 4, [0.2, 0.2, 0.2, 0.3])).toBe("plateau"); // 0.25 − 0.2 = 0.05
  expect(stageEnd({ plateau }, 4, [0.9, 0.9, 0.2, 0.2])).toBe("plateau"); // falling is no gain
});

test("without rules a stage goes on", () => {
  expect(stageEnd({}, 1_000_000, [0, 0, 0, 0])).toBeUndefined();
});
