// The process as effects: the one place where `bun run train` meets the clock, the terminal, the files and the signals.
import * as config from "@gradus/config";
import { createLogUpdate } from "log-update";
import type { View } from "./events.ts";
import { watchSignals } from "./interrupt.ts";
import { jsonView } from "./json-view.ts";
import { liveView } from "./live-view.ts";
import { plainView } from "./plain-view.ts";
import type { PolicySource } from "./run-policy.ts";
import type { TrainEffects } from "./train-command.ts";

// A config file may lie anywhere, also where no package of ours is installed: its imports of this one are given to it.
Bun.plugin({
  name: "gradus-config",
  setup: (build) => void build.module("@gradus/config", () => ({ exports: { ...config }, loader: "object" })),
});

/** The effects of this very process. */
export function processEffects(policies: PolicySource): TrainEffects {
  const clock = { now: () => Date.now(), seconds: () => performance.now() / 1000 };
  const writeOut = (text: string): void => void process.stdout.write(text);
  const writeError = (text: string): void => void process.stderr.write(text);
  let tell = (text: string): void => writeError(`${text}\n`);
  return {
    cwd: process.cwd(),
    files: {
      readText: (path) => Bun.file(path).text(),
      importModule: (path) => import(path),
      parseJsonc: Bun.JSONC.parse,
    },
    policies,
    clock,
    peakMemoryGib,
    writeOut,
    writeError,
    openView: (json) => {
      if (json) return withNotesApart(jsonView(writeOut), writeError);
      const live = process.stdout.isTTY && process.env.TERM !== "dumb";
      if (!live) return withNotesApart(plainView(writeOut), writeError);
      const columns = (): number => Math.max(40, process.stdout.columns ?? 80);
      const view = liveView(createLogUpdate(process.stdout), { columns, memoryGib: peakMemoryGib, now: clock.now });
      // A line that is written past the block would leave pieces of it standing.
      tell = (text) => view.show({ type: "note", text });
      return view;
    },
    watchSignals: () =>
      watchSignals({
        on: (signal, listener) => void process.on(signal, listener),
        exitNow: (code) => process.exit(code),
        now: () => performance.now(),
        // The timer must not keep a process alive that has nothing left to do.
        after: (milliseconds, action) => void setTimeout(action, milliseconds).unref(),
        asked: (signal) => tell(`${signal}: finishing the step and saving; once more to exit at once`),
      }),
  };
}

/** Notes go to stderr where stdout is read by programs. */
function withNotesApart(view: View, writeError: (text: string) => void): View {
  return {
    show: (event) => (event.type === "note" ? writeError(`${event.text}\n`) : view.show(event)),
    close: view.close,
  };
}

/** The largest resident set so far, in GiB. */
function peakMemoryGib(): number {
  return process.resourceUsage().maxRSS / 2 ** 20;
}
