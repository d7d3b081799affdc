// Running calls of one policy: their numbers, who listens to their events, and the signals that end them.
import type { NativeCall, NativeEnded, NativeEvent, NativePolicy } from "@gradus/native";
import type { Progress } from "./options.ts";

/** Who listens to a policy's events. Holds no policy, so that a forgotten policy can be collected. */
export type Calls = {
  /** Given to the engine: takes the events of one scheduler step. */
  readonly dispatch: (events: readonly NativeEvent[]) => void;
  readonly open: (listener: (event: NativeEvent) => void) => number;
  readonly close: (call: number) => void;
};

export function createCalls(): Calls {
  const listeners = new Map<number, (event: NativeEvent) => void>();
  let last = 0;
  return {
    dispatch: (events) => {
      for (const event of events) listeners.get(event.call)?.(event);
    },
    open: (listener) => {
      last = (last + 1) % 2 ** 32;
      listeners.set(last, listener);
      return last;
    },
    close: (call) => {
      listeners.delete(call);
    },
  };
}

/** What a caller may watch a call with; zod leaves undefined where nothing was given. */
export type Watch = {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: Progress) => void) | undefined;
  readonly onPiece?: (text: string) => void;
  readonly onEnded?: (responses: readonly NativeEnded[]) => void;
};

/** Starts a call under a fresh number, follows its events and its signal until it has its answer. */
export async function runCall<T>(
  native: NativePolicy,
  calls: Calls,
  { signal, onProgress, onPiece, onEnded }: Watch,
  start: (call: NativeCall) => Promise<T>,
): Promise<T> {
  const call = calls.open(({ tokens, finished, total, pieces, ended }) => {
    for (const piece of pieces) onPiece?.(piece.text);
    if (ended.length > 0) onEnded?.(ended);
    onProgress?.({ tokens, finished, total });
  });
  const abort = () => native.cancel(call);
  try {
    const answer = start({ number: call, cancelled: signal?.aborted ?? false });
    signal?.addEventListener("abort", abort, { once: true });
    return await answer;
  } finally {
    signal?.removeEventListener("abort", abort);
    calls.close(call);
  }
}
