import { expect, test } from "bun:test";
import { stream } from "./stream.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const whole = ([low, high]: readonly [number, number]) => (BigInt(high) << 32n) | BigInt(low);

test("a stream is the engine's: the answers that crates/model/src/stream.rs pins", () => {
  expect(whole(stream("init", { prompt: bytes("model.norm.weight") }))).toBe(9_449_252_766_530_782_490n);
  const place = { stage: 1, step: 2, prompt: bytes("ab"), rollout: 3, attempt: 4 };
  expect(whole(stream("shuffle", place))).toBe(13_901_331_184_711_009_121n);
});

test("another purpose or place is another stream", () => {
  const places = [{}, { stage: 1 }, { step: 1 }, { prompt: bytes("1") }, { rollout: 1 }, { attempt: 1 }];
  const found = ["shuffle", "shuffle-sft"].flatMap((purpose) => places.map((place) => whole(stream(purpose, place))));
  expect(new Set(found).size).toBe(12);
});
