// Frames between the client and gradus-sandboxd: header length, body length (u32 little-endian), JSON header, body.
// The body is the header's blobs, one after another; `"blobs": [length, …]` in the header says where each ends.

export const headerBytesMax = 64 * 1024;
export const bodyBytesMax = 256 * 1024 * 1024;
const prefixBytes = 8;

/** A header as it came, not yet checked against a schema, and its blobs. */
export type Frame = { readonly header: unknown; readonly blobs: readonly Uint8Array[] };

/** A frame that breaks the rules above; the stream behind it cannot be trusted. */
export class FrameError extends Error {
  override readonly name = "FrameError";
}

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true });

/** The chunks to write for one frame; the blobs are not copied. Throws a FrameError when it is too large. */
export function encodeFrame(header: Readonly<Record<string, unknown>>, blobs: readonly Uint8Array[]): Uint8Array[] {
  const text = encoder.encode(JSON.stringify({ ...header, blobs: blobs.map(({ length }) => length) }));
  const bodyBytes = blobs.reduce((sum, { length }) => sum + length, 0);
  checkLengths(text.length, bodyBytes);
  const head = new Uint8Array(prefixBytes + text.length);
  const view = new DataView(head.buffer);
  view.setUint32(0, text.length, true);
  view.setUint32(4, bodyBytes, true);
  head.set(text, prefixBytes);
  return [head, ...blobs.filter(({ length }) => length > 0)];
}

/**
 * Gives a function that takes a stream's chunks as they come and returns the frames that they completed.
 * It throws a FrameError at the first broken frame. Bytes are copied once, when their frame is whole.
 */
export function frameReader(): (chunk: Uint8Array) => Frame[] {
  const chunks: Uint8Array[] = [];
  let held = 0;
  let lengths: { header: number; body: number } | undefined;

  /** The first `length` bytes, removed from what is held. */
  function take(length: number): Uint8Array {
    const taken = new Uint8Array(length);
    let filled = 0;
    while (filled < length) {
      const first = chunks[0];
      if (first === undefined) throw new FrameError("fewer bytes are held than were counted");
      const part = first.subarray(0, length - filled);
      taken.set(part, filled);
      filled += part.length;
      if (part.length === first.length) chunks.shift();
      else chunks[0] = first.subarray(part.length);
    }
    held -= length;
    return taken;
  }

  return (chunk) => {
    if (chunk.length > 0) chunks.push(chunk);
    held += chunk.length;
    const frames: Frame[] = [];
    for (;;) {
      if (lengths === undefined) {
        if (held < prefixBytes) return frames;
        const prefix = take(prefixBytes);
        const view = new DataView(prefix.buffer);
        lengths = { header: view.getUint32(0, true), body: view.getUint32(4, true) };
        checkLengths(lengths.header, lengths.body);
      }
      if (held < lengths.header + lengths.body) return frames;
      frames.push(decodeFrame(take(lengths.header), take(lengths.body)));
      lengths = undefined;
    }
  };
}

function checkLengths(header: number, body: number): void {
  if (header < 2 || header > headerBytesMax) {
    throw new FrameError(`a frame's header has ${header} bytes; expected 2 to ${headerBytesMax}`);
  }
  if (body > bodyBytesMax) throw new FrameError(`a frame's body has ${body} bytes; the most is ${bodyBytesMax}`);
}

function decodeFrame(headerBytes: Uint8Array, body: Uint8Array): Frame {
  let header: unknown;
  try {
    header = JSON.parse(decoder.decode(headerBytes));
  } catch (cause) {
    throw new FrameError("a frame's header is not JSON", { cause });
  }
  const lengths = blobLengths(header);
  const blobs: Uint8Array[] = [];
  let begin = 0;
  for (const length of lengths) {
    blobs.push(body.subarray(begin, begin + length));
    begin += length;
  }
  if (begin !== body.length)
    throw new FrameError(`a frame's blobs add up to ${begin} bytes; its body has ${body.length}`);
  return { header, blobs };
}

function blobLengths(header: unknown): number[] {
  if (typeof header !== "object" || header === null || Array.isArray(header)) {
    throw new FrameError("a frame's header is not an object");
  }
  if (!("blobs" in header)) return [];
  const { blobs } = header;
  const isLength = (value: unknown): value is number => Number.isInteger(value) && Number(value) >= 0;
  if (!Array.isArray(blobs) || !blobs.every(isLength)) {
    throw new FrameError("a frame's blobs are not a list of lengths");
  }
  return blobs;
}
