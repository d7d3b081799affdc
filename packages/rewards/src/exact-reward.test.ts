import { expect, test } from "bun:test";
import { exactReward } from "./exact-reward.ts";

const grade = (text: string, answer = "33") =>
  exactReward()({ prompt: { id: "p", answer }, text, finishReason: "stop", length: 1 });

test("the last word of the response is its answer", () => {
  expect(grade("37+5=42;42-9=33 33")).toMatchObject({ score: 1, kind: "correct" });
  expect(grade("33")).toMatchObject({ score: 1, kind: "correct" });
  expect(grade("33\n")).toMatchObject({ score: 1, kind: "correct" });
  expect(grade("33 34")).toMatchObject({ score: 0, kind: "wrong" });
  expect(grade("37+5=42;42-9=33")).toMatchObject({ score: 0, kind: "wrong" });
  expect(grade("  ")).toMatchObject({ score: 0, kind: "no-answer" });
});

test("a prompt without an answer is a fault", () => {
  expect(grade("33", "")).toMatchObject({ status: "fault" });
});
