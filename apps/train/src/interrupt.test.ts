// Signals as a run sees them: the first asks, its echo is ignored, a second one ends the process.
import { expect, test } from "bun:test";
import { patienceMs, type StopSignal, sameSignalMs, watchSignals } from "./interrupt.ts";

/** Signals by hand, with a clock that the test turns. */
function watched() {
  const listeners = new Map<StopSignal, () => void>();
  const seen: string[] = [];
  let time = 1000;
  let later = () => {};
  const interrupt = watchSignals({
    on: (signal, listener) => void listeners.set(signal, listener),
    exitNow: (code) => void seen.push(`exit ${code}`),
    after: (milliseconds, action) => {
      expect(milliseconds).toBe(patienceMs);
      later = action;
    },
    asked: (signal) => void seen.push(`asked ${signal}`),
    now: () => time,
  });
  return {
    interrupt,
    seen,
    send: (signal: StopSignal) => listeners.get(signal)?.(),
    wait: (ms: number) => (time += ms),
    patienceEnds: () => later(),
  };
}

test("the first signal asks, and its echo through another process changes nothing", () => {
  const { interrupt, seen, send, wait } = watched();
  expect(interrupt.received()).toBeNull();
  send("SIGINT");
  wait(sameSignalMs - 1);
  send("SIGINT");
  expect([interrupt.received(), seen, interrupt.abandon.aborted]).toEqual(["SIGINT", ["asked SIGINT"], false]);
});

test("a second signal exits at once, with its own code", () => {
  const { seen, send, wait } = watched();
  send("SIGINT");
  wait(sameSignalMs);
  send("SIGTERM");
  expect(seen).toEqual(["asked SIGINT", "exit 143"]);
});

test("when patience ends the step is abandoned", () => {
  const { interrupt, send, patienceEnds } = watched();
  send("SIGTERM");
  patienceEnds();
  expect(interrupt.abandon.aborted).toBe(true);
});
