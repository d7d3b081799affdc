import { expect, test } from "bun:test";
import { textStream } from "./text-stream.ts";

const collect = async (stream: AsyncIterable<string>) => {
  const pieces: string[] = [];
  for await (const piece of stream) pieces.push(piece);
  return pieces;
};

test("late pieces are made up for by the whole text, once", async () => {
  const late: ((text: string) => void)[] = [];
  const pieces = await collect(
    textStream(async (onPiece) => {
      onPiece("a");
      late.push(onPiece);
      return "ab";
    }),
  );
  late[0]?.("b");
  expect(pieces.join("")).toBe("ab");
});

test("pieces that come one by one are given one by one", async () => {
  const stream = textStream(async (onPiece) => {
    for (const piece of ["x", "y", "z"]) {
      onPiece(piece);
      await new Promise((resolve) => setImmediate(resolve));
    }
    return "xyz";
  });
  expect(await collect(stream)).toEqual(["x", "y", "z"]);
});

test("an error comes after the pieces before it", async () => {
  const stream = textStream(async (onPiece) => {
    onPiece("a");
    throw new Error("planted");
  });
  expect(await stream.next()).toEqual({ value: "a", done: false });
  await expect(stream.next()).rejects.toThrow("planted");
});
