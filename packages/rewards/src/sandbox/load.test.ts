// Outcomes do not depend on how busy the machine is: the same programs, alone and beside four busy loops a core.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { availableParallelism } from "node:os";
import { attackLimits } from "./__fixtures__/attack-list.ts";
import type { Outcome } from "./protocol.ts";
import { type Sandbox, startSandbox } from "./sandbox.ts";

const limits = { ...attackLimits, cpuMs: 400, wallMs: 700 };
const burn = (seconds: number) => `import time\nwhile time.process_time() < ${seconds}:\n    pass\nprint("burnt")`;
const nap = (seconds: number) => `import time\ntime.sleep(${seconds})\nprint("slept")`;

/** Programs on both sides of each limit, some near it. */
const programs: readonly (readonly [string, string, Outcome])[] = [
  ["prints", "print(sum(range(1000)))", "exited"],
  ["computes for three quarters of the limit", burn(0.3), "exited"],
  ["computes for one and a half of the limit", burn(0.6), "cpu-limit"],
  ["computes for ever", "while True:\n    pass", "cpu-limit"],
  ["sleeps for half the limit", nap(0.35), "exited"],
  ["sleeps for twice the limit", nap(1.4), "wall-limit"],
  ["sleeps in slices", "import time\nwhile True:\n    time.sleep(0.02)", "wall-limit"],
  [
    "computes in a child",
    "import os, time\nif os.fork() == 0:\n    while time.process_time() < 0.2: pass\n    os._exit(0)\nos.wait()",
    "exited",
  ],
  ["computes for ever in a child", "import os\nif os.fork() == 0:\n    while True: pass\nos.wait()", "cpu-limit"],
  ["prints a mebibyte and a half", "print('x' * 1_500_000)", "output-limit"],
  ["dies", "import os\nos.abort()", "signalled"],
];

let sandbox: Sandbox;
const alone: Outcome[] = [];
beforeAll(async () => {
  sandbox = await startSandbox({ workers: availableParallelism() });
  alone.push(...(await outcomesOf()));
}, 120_000);
afterAll(() => sandbox.close());

function outcomesOf(): Promise<Outcome[]> {
  const runs = programs.map(([, code]) => sandbox.run({ mode: "stdin", code, stdin: "" }, limits));
  return Promise.all(runs.map(async (run) => (await run).outcome));
}

test("each program ends as it should", () => {
  expect(programs.map(([name], index) => `${name}: ${alone[index]}`)).toEqual(
    programs.map(([name, , outcome]) => `${name}: ${outcome}`),
  );
});

test("with four busy loops a core every program ends the same way", async () => {
  const loops = Array.from({ length: 4 * availableParallelism() }, () =>
    Bun.spawn(["sh", "-c", "while :; do :; done"], { stdin: "ignore" }),
  );
  try {
    expect(await outcomesOf()).toEqual(alone);
  } finally {
    for (const loop of loops) loop.kill("SIGKILL");
  }
}, 120_000);
