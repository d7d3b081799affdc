// Fuzz target: what gradus-sandboxd reads. Whatever the bytes on its stdin, it answers in whole frames and ends by itself
// once they are over: with 0, or with 4 after a broken frame. It never hangs, and no signal ends it.
import { spawn } from "node:child_process";
import { seededRandom } from "../src/__fixtures__/seeded-random.ts";
import { sandboxBinary } from "../src/sandbox/binary.ts";
import { daemonArguments } from "../src/sandbox/daemon.ts";
import { frameReader } from "../src/sandbox/frames.ts";
import { greetingSchema, resultSchema } from "../src/sandbox/protocol.ts";
import { joined, mutatedBytes } from "./mutate-bytes.ts";
import { corpusFrames } from "./sandbox-frames.fuzz.ts";

/** Starting the interpreter is the longest part; a loaded machine takes seconds for it. */
const endMilliseconds = 60_000;

type End = { readonly code: number | null; readonly signal: string | null; readonly headers: readonly unknown[] };

/** Runs a daemon on `bytes` and gives how it ended; null where it did not. */
function run(binary: string, bytes: Uint8Array): Promise<End | null> {
  return new Promise((resolve, reject) => {
    const child = spawn(binary, daemonArguments({ workers: 1 }), { stdio: ["pipe", "pipe", "ignore"] });
    const read = frameReader();
    const headers: unknown[] = [];
    let isStuck = false;
    const clock = setTimeout(() => {
      isStuck = true;
      child.kill("SIGKILL");
    }, endMilliseconds);
    child.stdout.on("data", (chunk: Uint8Array) => {
      try {
        headers.push(...read(chunk).map(({ header }) => header));
      } catch (error) {
        reject(error);
      }
    });
    child.on("error", reject);
    child.on("close", (code, signal) => {
      clearTimeout(clock);
      resolve(isStuck ? null : { code, signal, headers });
    });
    // It may end before it has read everything.
    child.stdin.on("error", () => undefined);
    child.stdin.end(bytes);
  });
}

function complaint(end: End | null): string | undefined {
  if (end === null) return `was not done with after ${endMilliseconds} ms`;
  const { code, signal, headers } = end;
  if (signal !== null) return `ended it with ${signal}`;
  if (code !== 0 && code !== 4) return `ended it with code ${code}`;
  const [greeting, ...results] = headers;
  if (!greetingSchema.safeParse(greeting).success) return "was not greeted";
  const wrong = results.find((header) => !resultSchema.safeParse(header).success);
  return wrong === undefined ? undefined : `was answered ${JSON.stringify(wrong)}`;
}

/** Runs from a seed while `goesOn`; gives the number of inputs, or throws with the input that failed. */
export async function fuzz(seed: number, goesOn: (inputs: number) => boolean): Promise<number | string> {
  let binary: string;
  try {
    binary = sandboxBinary();
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
  const random = seededRandom(seed);
  const choose = () => corpusFrames[Math.floor(random() * corpusFrames.length)] ?? new Uint8Array();
  let inputs = 0;
  for (; goesOn(inputs); inputs++) {
    const frames = Array.from({ length: 1 + Math.floor(random() * 3) }, choose);
    const bytes = joined(...frames.slice(1), mutatedBytes(frames[0] ?? new Uint8Array(), corpusFrames, random));
    const wrong = complaint(await run(binary, bytes));
    if (wrong !== undefined) throw new Error(`${Buffer.from(bytes).toString("hex")} ${wrong}`);
  }
  return inputs;
}
