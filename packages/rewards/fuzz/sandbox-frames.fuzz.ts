// Fuzz target: what the client reads from gradus-sandboxd. Whatever the bytes, and however they are cut into chunks, the
// reader gives the same frames or a FrameError, and answers are values of known shape or the program's error.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { seededRandom } from "../src/__fixtures__/seeded-random.ts";
import { encodeFrame, type Frame, FrameError, frameReader } from "../src/sandbox/frames.ts";
import { greetingSchema, resultSchema } from "../src/sandbox/protocol.ts";
import { isTagged, parseAnswers } from "../src/sandbox/tagged.ts";
import { joined, mutatedBytes } from "./mutate-bytes.ts";

const entrySchema = z.object({ header: z.record(z.string(), z.unknown()), blobs: z.array(z.string()) });
const encoder = new TextEncoder();

/** The corpus as frames; the sandbox daemon's target sends them. */
export const corpusFrames: readonly Uint8Array[] = readFileSync(
  join(import.meta.dir, "sandbox-frames.corpus.jsonl"),
  "utf8",
)
  .trimEnd()
  .split("\n")
  .map((line) => {
    const { header, blobs } = entrySchema.parse(JSON.parse(line));
    return joined(
      ...encodeFrame(
        header,
        blobs.map((blob) => encoder.encode(blob)),
      ),
    );
  });

type Outcome = { readonly frames: Frame[]; readonly broken: boolean };

/** What a reader gives for bytes in chunks of the sizes that `size` gives. */
function readInChunks(bytes: Uint8Array, size: () => number): Outcome {
  const read = frameReader();
  const frames: Frame[] = [];
  for (let begin = 0; begin < bytes.length; ) {
    const end = Math.min(bytes.length, begin + size());
    try {
      frames.push(...read(bytes.subarray(begin, end)));
    } catch (error) {
      if (error instanceof FrameError) return { frames, broken: true };
      throw error;
    }
    begin = end;
  }
  return { frames, broken: false };
}

/** What is wrong with the reading of `bytes`, or undefined. */
function complaint(bytes: Uint8Array, random: () => number): string | undefined {
  const bitwise = readInChunks(bytes, () => 1);
  const inPieces = readInChunks(bytes, () => 1 + Math.floor(random() * 40));
  // A broken frame takes the whole ones of its chunk with it.
  const common = bitwise.broken ? bitwise.frames.slice(0, inPieces.frames.length) : bitwise.frames;
  if (bitwise.broken !== inPieces.broken || !Bun.deepEquals(common, inPieces.frames)) {
    return "is read differently in other chunks";
  }
  for (const { header, blobs } of bitwise.frames) {
    greetingSchema.safeParse(header);
    resultSchema.safeParse(header);
    for (const blob of blobs) {
      for (const answer of parseAnswers(blob)) {
        const isKnown = "value" in answer ? isTagged(answer.value) : typeof answer.error === "string";
        if (!isKnown) return "gives an answer of unknown shape";
      }
    }
  }
  return undefined;
}

/** Runs from a seed while `goesOn`; gives the number of inputs, or throws with the input that failed. */
export function fuzz(seed: number, goesOn: (inputs: number) => boolean): number {
  const random = seededRandom(seed);
  const choose = () => corpusFrames[Math.floor(random() * corpusFrames.length)] ?? new Uint8Array();
  let inputs = 0;
  for (; goesOn(inputs); inputs++) {
    const bytes = mutatedBytes(joined(choose(), choose()), corpusFrames, random);
    let wrong: string | undefined;
    try {
      wrong = complaint(bytes, random);
    } catch (error) {
      wrong = `threw ${error instanceof Error ? error.stack : String(error)}`;
    }
    if (wrong !== undefined) throw new Error(`${Buffer.from(bytes).toString("hex")} ${wrong}`);
  }
  return inputs;
}
