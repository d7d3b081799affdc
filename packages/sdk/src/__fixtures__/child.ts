// A process with a policy, for tests of how processes end: `bun child.ts WAY`.

import { Policy } from "../index.ts";
import { tinyConfig } from "./tiny-policy.ts";

const config = { ...tinyConfig, max_position_embeddings: 200_000, eos_token_id: null };
const policy = await Policy.create({ config, seed: 1 });
const long = { maxTokens: 150_000, onProgress: started };
let told = false;

/** Says once that the engine is at work: the parent acts then. */
function started(): void {
  if (!told) process.stdout.write("started\n");
  told = true;
}

switch (process.argv[2]) {
  case "leave": // Ends with the module, the policy not closed.
    await policy.generate([Uint32Array.of(1)], { maxTokens: 3 });
    process.stdout.write("started\n");
    break;
  case "wait": // Waits for the engine; only a signal ends it.
    await policy.generate([Uint32Array.of(1)], long);
    break;
  case "exit": // Exits with the engine at work.
    void policy.generate([Uint32Array.of(1)], {
      ...long,
      onProgress: () => {
        started();
        process.exit(7);
      },
    });
    break;
  case "handle": // Closes on the first signal, as an application does.
    process.once("SIGINT", async () => {
      await policy.close();
      process.exit(130);
    });
    await policy.generate([Uint32Array.of(1)], long).catch(() => process.stdout.write("rejected\n"));
    break;
  default:
    throw new Error("unknown way to end");
}
