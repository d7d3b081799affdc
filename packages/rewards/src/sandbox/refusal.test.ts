// Where the kernel denies what the walls are made of, nothing runs: the daemon says which primitive failed and what to do.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { plainPython } from "./__fixtures__/plain-python.ts";
import { sandboxBinary } from "./binary.ts";
import { encodeFrame, frameReader } from "./frames.ts";
import { greetingSchema } from "./protocol.ts";
import { defaultLimits, startSandbox } from "./sandbox.ts";

const deny = join(import.meta.dir, "..", "..", "..", "..", "crates", "sandbox", "tests", "deny.py");
let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "gradus-refusal-"));
  chmodSync(folder, 0o755);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A command that starts the daemon where the kernel answers EPERM to what is named. */
function denying(what: string): string {
  const path = join(folder, `without-${what}`);
  writeFileSync(path, `#!/bin/sh\nexec ${plainPython()} ${deny} ${what} ${sandboxBinary()} "$@"\n`, { mode: 0o755 });
  return path;
}

const denied: readonly (readonly [string, RegExp])[] = [
  // As in a container with Docker's default filter.
  ["namespaces", /unshare|clone|namespace/i],
  ["mounts", /mount|pivot_root/i],
  ["filters", /seccomp|prctl/i],
];

for (const [what, primitive] of denied) {
  test(`without ${what} the sandbox refuses, names the primitive and a remedy`, async () => {
    const error = await startSandbox({ binary: denying(what) }).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: "sandbox-refused" });
    const { reason, remedy } = reasonOf(error);
    expect(reason).toMatch(primitive);
    expect(remedy.length).toBeGreaterThan(10);
  }, 60_000);

  test(`without ${what} nothing runs, also where a program was sent before the greeting`, async () => {
    const mark = join(folder, `ran-without-${what}`);
    const code = new TextEncoder().encode(`open(${JSON.stringify(mark)}, "w").write("x"); print("ran")`);
    const run = { type: "run", id: 1, mode: "stdin", limits: defaultLimits };
    const child = Bun.spawn([denying(what)], {
      stdin: Buffer.concat(encodeFrame(run, [code, new Uint8Array()])),
      stdout: "pipe",
      stderr: "ignore",
    });
    const frames = frameReader()(new Uint8Array(await new Response(child.stdout).arrayBuffer()));
    expect(await child.exited).toBe(3);
    expect(frames.map(({ header }) => greetingSchema.parse(header).type)).toEqual(["refused"]);
    expect(existsSync(mark)).toBe(false);
  }, 60_000);

  test(`without ${what} --probe says the same in one line`, async () => {
    const child = Bun.spawn([denying(what), "--probe"], { stdin: "ignore", stdout: "pipe", stderr: "ignore" });
    const text = await new Response(child.stdout).text();
    expect(await child.exited).toBe(3);
    expect(text.trim().split("\n").length).toBe(1);
    const greeting = greetingSchema.parse(JSON.parse(text));
    expect(greeting).toMatchObject({ type: "refused", reason: expect.stringMatching(primitive) });
    expect(greeting.walls.some(({ holds }) => !holds)).toBe(true);
  }, 60_000);
}

test("an interpreter that is not there is a refusal too", async () => {
  const error = await startSandbox({ python: join(folder, "no-python") }).catch((reason: unknown) => reason);
  expect(error).toMatchObject({ code: "sandbox-refused" });
  expect(reasonOf(error).reason).toContain("no-python");
}, 60_000);

function reasonOf(error: unknown): { reason: string; remedy: string } {
  if (error instanceof Error && "reason" in error && "remedy" in error) {
    return { reason: String(error.reason), remedy: String(error.remedy) };
  }
  throw new Error("it is no refusal");
}
