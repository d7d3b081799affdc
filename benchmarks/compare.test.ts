// Agreement with the peer: within rounding it is told, beyond it and with NaN it is refused.
import { expect, test } from "bun:test";
import { compareLogprobs, compareRollouts, compareTraining } from "./compare.ts";

const step = (loss: number, gradient_norm: number) => ({ loss, gradient_norm, seconds: 1 });

test("losses and gradient norms", () => {
  expect(compareTraining("f32", [step(6.2381, 2), step(6.1, 2)], [step(6.2382, 2.001)])).toContain(
    "loss differs by 1.0e-4",
  );
  expect(() => compareTraining("f32", [step(6.24, 2)], [step(6.25, 2)])).toThrow("not the peer's numbers");
  expect(() => compareTraining("f32", [step(6.24, 2)], [step(6.24, 2.1)])).toThrow("gradient norm by 4.76%");
  expect(() => compareTraining("bf16", [step(Number.NaN, 2)], [step(6.24, 2)])).toThrow("not the peer's numbers");
});

test("logprobs of the tokens that were sampled, at the end of the peer's", () => {
  expect(compareLogprobs("f32", [-1, -2], [-9, -9, -1.001, -2])).toContain("2 sampled tokens differ by 1.0e-3");
  expect(() => compareLogprobs("f32", [-1, -2], [-1, -2.1])).toThrow("not the peer's numbers");
  expect(() => compareLogprobs("bf16", [-1, -2], [])).toThrow("not the peer's numbers");
});

test("rollouts of the same length, and no difference between sampler and trainer", () => {
  const rollouts = (response_length: number, logprob_difference = 0) => [{ response_length, logprob_difference }];
  const exact = { response: 128, exactLength: true };
  const open = { response: 128, exactLength: false };
  expect(compareRollouts(exact, rollouts(128), rollouts(128))).toContain("128.0 and 128.0");
  expect(() => compareRollouts(exact, rollouts(127), rollouts(128))).toThrow("not the same work");
  expect(() => compareRollouts(exact, rollouts(128, 1e-7), rollouts(128))).toThrow("not the same work");
  expect(compareRollouts(open, rollouts(50), rollouts(55))).toContain("50.0 and 55.0");
  expect(() => compareRollouts(open, rollouts(30), rollouts(55))).toThrow("not the same work");
});
