// LiveCodeBench's packed test cases: base64 of zlib of a pickle of one JSON string. The pickle is read by hand and never run.
import { inflateSync } from "node:zlib";
import { FormatError } from "./python-json.ts";

/** The most that a packed text may have once it is unpacked. */
export const unpackedBytesMax = 512 * 1024 * 1024;

/** The JSON text within. Throws a FormatError for anything else, and for more than `bytesMax` bytes. */
export function unpackTests(packed: string, bytesMax = unpackedBytesMax): string {
  const compressed = Buffer.from(packed, "base64");
  let pickle: Uint8Array;
  try {
    pickle = inflateSync(compressed, { maxOutputLength: bytesMax });
  } catch (error) {
    const isTooLarge = error instanceof RangeError;
    throw new FormatError(
      isTooLarge
        ? `packed tests of more than ${bytesMax} bytes; split the problem's tests`
        : "packed tests are no zlib data in base64",
    );
  }
  return pickledString(pickle);
}

const opcode = {
  protocol: 0x80,
  frame: 0x95,
  unicode: 0x58, // 4 bytes of length
  shortUnicode: 0x8c, // 1 byte of length
  longUnicode: 0x8d, // 8 bytes of length
  memoize: 0x94,
  put: 0x71, // 1 byte of index
  longPut: 0x72, // 4 bytes of index
  stop: 0x2e,
} as const;

/** The string of a pickle (protocols 2 to 5) that holds one string and nothing else. Throws a FormatError otherwise. */
export function pickledString(pickle: Uint8Array): string {
  const view = new DataView(pickle.buffer, pickle.byteOffset, pickle.byteLength);
  let at = 0;
  const skip = (bytes: number): number => {
    const start = at;
    if (bytes > pickle.length - at) throw new FormatError("the pickle of the packed tests is cut off");
    at += bytes;
    return start;
  };
  const number = (bytes: 1 | 4 | 8): number => {
    const start = skip(bytes);
    if (bytes === 8) return Number(view.getBigUint64(start, true));
    return bytes === 4 ? view.getUint32(start, true) : view.getUint8(start);
  };
  let text: string | undefined;
  const read = (length: number) => {
    if (text !== undefined) throw new FormatError("the pickle of the packed tests holds more than one string");
    const start = skip(length);
    text = new TextDecoder("utf-8", { ignoreBOM: true }).decode(pickle.subarray(start, start + length));
  };
  for (;;) {
    const code = number(1);
    if (code === opcode.protocol) skip(1);
    else if (code === opcode.frame) skip(8);
    else if (code === opcode.unicode) read(number(4));
    else if (code === opcode.shortUnicode) read(number(1));
    else if (code === opcode.longUnicode) read(number(8));
    else if (code === opcode.put) skip(1);
    else if (code === opcode.longPut) skip(4);
    else if (code === opcode.stop) break;
    else if (code !== opcode.memoize) {
      throw new FormatError(`the pickle of the packed tests has the instruction ${code}; only one string is read`);
    }
  }
  if (text === undefined) throw new FormatError("the pickle of the packed tests holds no string");
  return text;
}
