// The attacks of crates/sandbox/tests/attacks: Python programs whose first line says what they try and how they may end.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import type { Limits, Program } from "../protocol.ts";

const folder = join(import.meta.dir, "..", "..", "..", "..", "..", "crates", "sandbox", "tests", "attacks");

const headerSchema = z.strictObject({
  tries: z.string(),
  /** How the run may end. */
  outcomes: z.array(z.enum(["exited", "signalled", "cpu-limit", "wall-limit", "memory-limit", "output-limit"])),
  mode: z.enum(["stdin", "calls"]).default("stdin"),
  /** Whether an attack that ends by itself must have printed `done`, so that a slip in it is no pass. */
  done: z.boolean().default(true),
  /** Whether it may end with an exception. */
  traceback: z.boolean().default(false),
  exitCode: z.int().optional(),
  /** Whether the sandbox's own processes must be the very same ones afterwards. */
  pidsKept: z.boolean().default(false),
  stdoutHex: z.string().optional(),
  answers: z.array(z.unknown()).optional(),
  answersMax: z.int().optional(),
  limits: z.strictObject({ cpuMs: z.int(), wallMs: z.int() }).optional(),
});

export type Attack = z.infer<typeof headerSchema> & { readonly name: string; readonly code: string };

/** Short limits, so that the whole list takes seconds; the walls are the same at any size. */
export const attackLimits: Limits = {
  cpuMs: 400,
  wallMs: 400,
  memoryMiB: 256,
  outputBytes: 1 << 20,
  fileMiB: 8,
  processes: 32,
};

const marker = "# attack: ";

/** Every attack, by name. Throws where a file is neither an attack nor one of the two that serve them. */
export function attackList(): Attack[] {
  return readdirSync(folder)
    .filter((file) => file.endsWith(".py") && file !== "prelude.py" && file !== "aftermath.py")
    .sort()
    .map((file) => {
      const code = readFileSync(join(folder, file), "utf8");
      const [head = ""] = code.split("\n");
      if (!head.startsWith(marker)) throw new Error(`${file}: the first line is not "${marker}{…}"`);
      return { ...headerSchema.parse(JSON.parse(head.slice(marker.length))), name: file.slice(0, -".py".length), code };
    });
}

const prelude = readFileSync(join(folder, "prelude.py"), "utf8");
const aftermath = readFileSync(join(folder, "aftermath.py"), "utf8");

/** The program that carries out an attack; `given` is what it is told of the world outside. */
export function attackProgram({ mode, code }: Attack, given: Readonly<Record<string, unknown>>): Program {
  const told = JSON.stringify(given);
  return mode === "stdin"
    ? { mode, code: prelude + code, stdin: `${told}\n` }
    : { mode, code, entry: "attack", calls: [[{ d: [["told", told]] }]] };
}

/** The harmless program that runs after it; `earlier` is a text that nobody after it may find. */
export function aftermathProgram(earlier: string): Program {
  return {
    mode: "stdin",
    code: `${aftermath}\n# ${earlier}\n`,
    stdin: `${JSON.stringify(attackLimits)}\n${earlier}\n`,
  };
}
