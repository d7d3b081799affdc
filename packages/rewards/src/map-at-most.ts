// How many rewards run at once: a step may have thousands of rollouts, and a reward may open a connection for each.

/** Rewards that are asked at the same time, by training and evaluation alike. */
export const rewardsAtOnce = 64;

/** Runs works given one after the other, never more than `most` at once, in the order in which they were given. */
export function limitAtOnce(most: number): <R>(work: () => Promise<R>) => Promise<R> {
  const waiting: (() => void)[] = [];
  let running = 0;
  return async (work) => {
    if (running === most) await new Promise<void>((resolve) => waiting.push(resolve));
    else running++;
    try {
      return await work();
    } finally {
      // A place that somebody waits for passes on without becoming free.
      const next = waiting.shift();
      if (next) next();
      else running--;
    }
  };
}

/** What `work` gives for each item, in the items' order, never more than `most` at work; the first failure ends it. */
export async function mapAtMost<T, R>(most: number, items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  const waiting = items.entries();
  let failed = false;
  const worker = async () => {
    for (const [index, item] of waiting) {
      if (failed) return;
      try {
        results[index] = await work(item);
      } catch (error) {
        failed = true;
        throw error;
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(most, items.length) }, worker));
  return results;
}
