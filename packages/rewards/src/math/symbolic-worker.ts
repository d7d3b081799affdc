// The worker process of the symbolic engine: takes questions as messages, sends answers, ends when its parent does.
// symbolic-pool.ts starts it, and kills it when a question takes too long.
import { symbolicEngine } from "./symbolic-engine.ts";
import { questionSchema } from "./symbolic-protocol.ts";

const answer = symbolicEngine();

process.on("message", (message) => {
  const { id, simplify, ...question } = questionSchema.parse(message);
  // What the engine cannot work out shows no equality.
  try {
    process.send?.({ id, is: answer({ ...question, ...(simplify && { simplify }) }) });
  } catch {
    process.send?.({ id, is: "different" });
  }
});
process.on("disconnect", () => process.exit(0));

// The first evaluation loads the engine's tables; done before the clock of a question runs.
answer({
  values: [
    [
      ["Sqrt", 2],
      ["Sin", 1],
    ],
  ],
  complexAllowed: false,
});
process.send?.({ ready: true });
