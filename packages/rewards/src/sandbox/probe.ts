// Asks gradus-sandboxd once which walls hold on this machine, without starting workers: for `bun run doctor`.
import { execFile } from "node:child_process";
import { sandboxBinary } from "./binary.ts";
import { daemonEnvironment } from "./daemon.ts";
import { type Greeting, greetingSchema } from "./protocol.ts";
import { SandboxError } from "./sandbox-error.ts";

/** The tier with every wall that was tried, or the refusal. Throws a SandboxError when the daemon cannot be asked. */
export function probeSandbox(binary = sandboxBinary()): Promise<Greeting> {
  return new Promise((resolve, reject) => {
    execFile(binary, ["--probe"], { env: daemonEnvironment(), timeout: 60_000 }, (_failure, stdout, stderr) => {
      // A refusal is an answer too, though the daemon then ends with code 3.
      const greeting = parse(stdout);
      if (greeting !== undefined) return resolve(greeting);
      const why = stderr.trim() === "" ? "gave no answer to --probe" : stderr.trim();
      reject(new SandboxError("sandbox-failed", `${binary}: ${why}`, "build it anew: bun run setup"));
    });
  });
}

function parse(line: string): Greeting | undefined {
  try {
    return greetingSchema.parse(JSON.parse(line));
  } catch {
    return undefined;
  }
}
