// A fixed number of inputs of every fuzz target of this package, so that a broken target or parser shows at once.
import { expect, test } from "bun:test";
import { fuzz as fuzzAnswers } from "../fuzz/answers.fuzz.ts";
import { fuzz as fuzzPackedTests } from "../fuzz/packed-tests.fuzz.ts";
import { fuzz as fuzzDaemon } from "../fuzz/sandbox-daemon.fuzz.ts";
import { fuzz as fuzzFrames } from "../fuzz/sandbox-frames.fuzz.ts";

test("300 inputs of the answer parser", () => {
  expect(fuzzAnswers(1, (inputs) => inputs < 300)).toBe(300);
});

test("2,000 inputs of the sandbox's frames", () => {
  expect(fuzzFrames(1, (inputs) => inputs < 2000)).toBe(2000);
});

test("2,000 inputs of the readers of tests", () => {
  expect(fuzzPackedTests(1, (inputs) => inputs < 2000)).toBe(2000);
});

test("5 inputs of the sandbox's daemon", async () => {
  expect(await fuzzDaemon(1, (inputs) => inputs < 5)).toBe(5);
}, 120_000);
