// The worker process of the symbolic engine: reads questions from its input, writes answers to its output, ends when
// its input does. symbolic-pool.ts starts it, and kills it when a question takes too long.
import { symbolicEngine } from "./symbolic-engine.ts";
import { lineReader, questionSchema } from "./symbolic-protocol.ts";

const answer = symbolicEngine();

function write(value: object): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

const read = lineReader((line) => {
  const { id, simplify, ...question } = questionSchema.parse(JSON.parse(line));
  // What the engine cannot work out shows no equality.
  try {
    write({ id, is: answer({ ...question, ...(simplify && { simplify }) }) });
  } catch {
    write({ id, is: "different" });
  }
});

process.stdin.setEncoding("utf8");
process.stdin.on("data", (piece) => read(String(piece)));
process.stdin.on("end", () => process.exit(0));
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
write({ ready: true });
