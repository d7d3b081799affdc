// Ctrl-C and SIGTERM: a polite request to stop, a limit to patience, and a way out at once.

export type StopSignal = "SIGINT" | "SIGTERM";

/** What a run sees of the signals that its process receives. */
export type Interrupt = {
  /** The first signal, or null while none came. */
  readonly received: () => StopSignal | null;
  /** Aborts when the current step has had its time: what can be abandoned is, a checkpoint follows. */
  readonly abandon: AbortSignal;
};

/** The run stopped on request; everything worth keeping is in a checkpoint. */
export class InterruptedError extends Error {
  override readonly name = "InterruptedError";
  readonly signal: StopSignal;

  constructor(signal: StopSignal, message = `stopped by ${signal}`) {
    super(message);
    this.signal = signal;
  }
}

/** 128 + the signal's number, as shells have it. */
export function signalExitCode(signal: StopSignal): number {
  return signal === "SIGINT" ? 130 : 143;
}

/** How long the step at hand may take to end by itself after the first signal, in milliseconds. */
export const patienceMs = 10_000;

/** One Ctrl-C may arrive twice, from the terminal and handed on by `bun run`: within this time it is one, in milliseconds. */
export const sameSignalMs = 300;

/** Turns signals into an Interrupt: the first asks, the second exits at once. `now` is in milliseconds. */
export function watchSignals(process: {
  on(signal: StopSignal, listener: () => void): void;
  exitNow(code: number): void;
  after(milliseconds: number, action: () => void): void;
  asked(signal: StopSignal): void;
  now(): number;
}): Interrupt {
  let received: StopSignal | null = null;
  let receivedAt = 0;
  const abandon = new AbortController();
  const receive = (signal: StopSignal): void => {
    if (received !== null) {
      if (process.now() - receivedAt >= sameSignalMs) process.exitNow(signalExitCode(signal));
      return;
    }
    received = signal;
    receivedAt = process.now();
    process.asked(signal);
    process.after(patienceMs, () => abandon.abort(new InterruptedError(signal)));
  };
  process.on("SIGINT", () => receive("SIGINT"));
  process.on("SIGTERM", () => receive("SIGTERM"));
  return { received: () => received, abandon: abandon.signal };
}
