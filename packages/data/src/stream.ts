// Random streams: every random number of a run belongs to a purpose and a place in the run, never to a batch.
// The same function and the same known answers as in crates/model, so that purposes never share a stream.
import { blake3 } from "@noble/hashes/blake3.js";

/** Where in a run random numbers are drawn; what has no meaning for a purpose is 0 or empty. */
export type StreamPlace = {
  readonly stage?: number;
  readonly step?: number;
  /** The prompt's id, or its token ids in little-endian bytes. */
  readonly prompt?: Uint8Array;
  readonly rollout?: number;
  readonly attempt?: number;
};

/**
 * The low and the high word of the first 64 bits of BLAKE3 over the fields, each behind its length so that no two
 * lists of fields meet.
 */
export function stream(
  purpose: string,
  { stage = 0, step = 0, prompt = new Uint8Array(), rollout = 0, attempt = 0 }: StreamPlace,
): readonly [number, number] {
  const hasher = blake3.create();
  const fields = [new TextEncoder().encode(purpose), word(stage), word(step), prompt, word(rollout), word(attempt)];
  for (const field of fields) hasher.update(word(field.length)).update(field);
  const first = new DataView(hasher.digest().buffer);
  return [first.getUint32(0, true), first.getUint32(4, true)];
}

/** 64 bits, little-endian. */
function word(value: number): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(value), true);
  return bytes;
}
