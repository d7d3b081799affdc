import { expect, test } from "bun:test";
import { bodyBytesMax, encodeFrame, type Frame, FrameError, frameReader, headerBytesMax } from "./frames.ts";

const join = (chunks: readonly Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(chunks));
const bytes = (...values: number[]): Uint8Array => new Uint8Array(values);

/** A frame written by hand, so that the reader is not tested by its own writer. */
function frameOf(header: string, body: Uint8Array, lengths?: { header: number; body: number }): Uint8Array {
  const text = Buffer.from(header);
  const prefix = Buffer.alloc(8);
  prefix.writeUInt32LE(lengths?.header ?? text.length, 0);
  prefix.writeUInt32LE(lengths?.body ?? body.length, 4);
  return new Uint8Array(Buffer.concat([prefix, text, body]));
}

test("a frame is its two lengths, its header and its blobs", () => {
  const written = join(encodeFrame({ type: "run", id: 7 }, [bytes(1, 2), bytes(), bytes(255)]));
  expect(written).toEqual(frameOf('{"type":"run","id":7,"blobs":[2,0,1]}', bytes(1, 2, 255)));
});

test("frames come out whole however the stream is cut", () => {
  const stream = join([
    frameOf('{"id":1,"blobs":[3,0]}', bytes(9, 8, 7)),
    frameOf('{"id":2}', bytes()),
    frameOf('{"text":"ü","blobs":[]}', bytes()),
  ]);
  const expected: Frame[] = [
    { header: { id: 1, blobs: [3, 0] }, blobs: [bytes(9, 8, 7), bytes()] },
    { header: { id: 2 }, blobs: [] },
    { header: { text: "ü", blobs: [] }, blobs: [] },
  ];
  for (let size = 1; size <= stream.length; size++) {
    const read = frameReader();
    const frames: Frame[] = [];
    for (let begin = 0; begin < stream.length; begin += size)
      frames.push(...read(stream.subarray(begin, begin + size)));
    expect(frames).toEqual(expected);
  }
});

test("a large body costs time in its size, not in its square", () => {
  // Copied at every chunk it would take longer than the test may.
  const body: Uint8Array = new Uint8Array(64 * 1024 * 1024).fill(5);
  const stream = frameOf(`{"blobs":[${body.length}]}`, body);
  const read = frameReader();
  let frames: Frame[] = [];
  for (let begin = 0; begin < stream.length; begin += 512) frames = read(stream.subarray(begin, begin + 512));
  expect(frames[0]?.blobs[0]?.length).toBe(body.length);
}, 60_000);

const broken: Record<string, Uint8Array> = {
  "a header that is too long": frameOf("", bytes(), { header: headerBytesMax + 1, body: 0 }),
  "a header that is too short": frameOf("", bytes(), { header: 0, body: 0 }),
  "a body that is too long": frameOf("{}", bytes(), { header: 2, body: bodyBytesMax + 1 }),
  "no JSON": frameOf("{]", bytes()),
  "no UTF-8": join([frameOf("", bytes(), { header: 2, body: 0 }), bytes(0xff, 0xfe)]),
  "no object": frameOf("[1]", bytes()),
  "blobs that are no list": frameOf('{"blobs":3}', bytes(1, 2, 3)),
  "a negative blob": frameOf('{"blobs":[-1,2]}', bytes(1)),
  "a fraction of a byte": frameOf('{"blobs":[0.5]}', bytes(1)),
  "blobs beyond the body": frameOf('{"blobs":[2]}', bytes(1)),
  "a body beyond the blobs": frameOf('{"blobs":[1]}', bytes(1, 2)),
  "a body without blobs": frameOf("{}", bytes(1)),
};
for (const [name, stream] of Object.entries(broken)) {
  test(`refuses ${name}`, () => expect(() => frameReader()(stream)).toThrow(FrameError));
}

test("refuses to write what the other side refuses", () => {
  expect(() => encodeFrame({ entry: "x".repeat(headerBytesMax) }, [])).toThrow(FrameError);
});
