// The view of `--json`: one JSON object a line; the last one is the summary.
import type { RunEvent, View } from "./events.ts";

/** @param write takes text for stdout. */
export function jsonView(write: (text: string) => void): View {
  return {
    show: (event) => {
      const line = jsonLine(event);
      if (line !== null) write(`${JSON.stringify(line)}\n`);
    },
    close: () => {},
  };
}

function jsonLine(event: RunEvent): object | null {
  switch (event.type) {
    case "step":
      return { type: "step", stage: event.stage, step: event.step, ...event.metrics };
    case "summary":
      return { type: "summary", ...event.summary };
    case "evaluating":
      return null;
    default:
      return event;
  }
}
