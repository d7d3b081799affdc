// How a process with a policy ends: by itself, by process.exit, by a signal; never hanging, never crashing.
import { expect, test } from "bun:test";
import { join } from "node:path";

type Ended = { exitCode: number | null; signal: NodeJS.Signals | number | null; stdout: string; stderr: string };

/** Runs the child; sends `signal` when the engine is at work. */
async function endOf(way: string, signal?: NodeJS.Signals): Promise<Ended> {
  const child = Bun.spawn([process.execPath, join(import.meta.dir, "__fixtures__", "child.ts"), way], {
    stdout: "pipe",
    stderr: "pipe",
  });
  let stdout = "";
  const decoder = new TextDecoder();
  for await (const chunk of child.stdout) {
    stdout += decoder.decode(chunk, { stream: true });
    if (signal !== undefined && stdout === "started\n") child.kill(signal);
  }
  const stderr = await new Response(child.stderr).text();
  await child.exited;
  return { exitCode: child.exitCode, signal: child.signalCode, stdout, stderr };
}

test("a process whose policy was not closed ends by itself", async () => {
  expect(await endOf("leave")).toEqual({ exitCode: 0, signal: null, stdout: "started\n", stderr: "" });
});

test("process.exit while the engine works ends at once", async () => {
  expect(await endOf("exit")).toEqual({ exitCode: 7, signal: null, stdout: "started\n", stderr: "" });
});

test("SIGINT ends a process that waits for the engine: nothing of ours is in the way", async () => {
  expect(await endOf("wait", "SIGINT")).toMatchObject({ signal: "SIGINT", stderr: "" });
});

test("SIGTERM likewise", async () => {
  expect(await endOf("wait", "SIGTERM")).toMatchObject({ signal: "SIGTERM", stderr: "" });
});

test("an application's handler closes the policy in the middle of a call", async () => {
  const ended = await endOf("handle", "SIGINT");
  expect(ended).toMatchObject({ exitCode: 130, signal: null, stderr: "" });
});
