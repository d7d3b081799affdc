// The seeded, resumable loader: items by cursor, shuffled anew each epoch. A pure function of (seed, purpose, stage, cursor).
import { DataError } from "./data-error.ts";
import { type ShuffleOwner, shuffle } from "./shuffle.ts";

export type LoaderOptions = ShuffleOwner & {
  readonly seed: bigint | number;
  /** The sequence ends after so many epochs, also a share of one; without it, it never ends. */
  readonly epochs?: number;
};

/** Fulfils rl's `Source`. The cursor counts items from the start of the first epoch. */
export type Loader<T> = {
  readonly size: number;
  /** Up to `count` items from `cursor`: the last batch of an epoch is short, so that no item comes twice in one batch. */
  take(cursor: number, count: number): { items: T[]; epoch: number; nextCursor: number } | undefined;
};

/** A loader over `items`. Throws a DataError when there are none. */
export function createLoader<T>(items: readonly T[], options: LoaderOptions): Loader<T> {
  if (items.length === 0) throw new DataError("empty", "the data set has no rows; give a file with at least one");
  let held: { epoch: number; order: Uint32Array } = { epoch: -1, order: new Uint32Array() };
  const orderOf = (epoch: number) => {
    if (held.epoch !== epoch) held = { epoch, order: shuffle(options.seed, epoch, items.length, options) };
    return held.order;
  };
  const end = options.epochs === undefined ? Number.POSITIVE_INFINITY : Math.ceil(options.epochs * items.length);
  return {
    size: items.length,
    take: (cursor, count) => {
      if (cursor >= end) return undefined;
      const epoch = Math.floor(cursor / items.length);
      const start = cursor % items.length;
      const places = orderOf(epoch).subarray(start, start + Math.min(count, end - cursor));
      const taken = Array.from(places, (index) => items[index]).filter((item) => item !== undefined);
      return { items: taken, epoch, nextCursor: cursor + places.length };
    },
  };
}
