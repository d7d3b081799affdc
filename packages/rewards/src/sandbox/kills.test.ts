// SIGKILL of the daemon and of its workers at seeded moments under load: every run ends with its right result or as a
// fault, never with a wrong one, and the sandbox goes on. GRADUS_TEST_FULL kills longer.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { attackLimits } from "./__fixtures__/attack-list.ts";
import { cgroupsOf, familyOf, sandboxProcesses, untilNoneIsLeft } from "./__fixtures__/processes.ts";
import type { Program, Run } from "./protocol.ts";
import { type Sandbox, startSandbox } from "./sandbox.ts";

const kills = process.env.GRADUS_TEST_FULL ? 60 : 12;
const limits = { ...attackLimits, cpuMs: 5000, wallMs: 5000 };
let sandbox: Sandbox;
beforeAll(async () => {
  sandbox = await startSandbox({ workers: 2 });
}, 60_000);
afterAll(() => sandbox.close());

/** Numbers in [0, 1) that depend on the seed alone (mulberry32). */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A program and what a run of it must have come to, unless it is a fault. */
type Known = { readonly program: Program; readonly came: string };

/** Programs of every kind of end; `number` makes each result its own. */
const kinds: readonly ((number: number) => Known)[] = [
  (number) => ({
    program: { mode: "stdin", code: "import time; time.sleep(0.01); print(int(input()) + 1)", stdin: `${number}` },
    came: `exited 0 ${number + 1}\n`,
  }),
  (number) => ({
    program: { mode: "calls", code: "def twice(n):\n    return 2 * n", entry: "twice", calls: [[number], [1]] },
    came: `exited 0 [{"value":${2 * number}},{"value":2}]`,
  }),
  (number) => ({
    program: { mode: "stdin", code: `print(${number}, flush=True)\nraise SystemExit(3)`, stdin: "" },
    came: `exited 3 ${number}\n`,
  }),
  (number) => ({
    program: { mode: "stdin", code: `print(${number}, flush=True)\nimport os\nos.abort()`, stdin: "" },
    came: `signalled null ${number}\n`,
  }),
];

function cameOf({ outcome, exitCode, stdout, answers }: Run): string {
  const said = answers.length > 0 ? JSON.stringify(answers) : new TextDecoder().decode(stdout);
  return `${outcome} ${exitCode} ${said}`;
}

test(`${kills} kills at random moments: right results or faults, and the sandbox recovers`, async () => {
  const random = seeded(20_260_601);
  let isOver = false;
  let count = 0;
  const wrong: string[] = [];
  const outcomes = { right: 0, fault: 0 };

  async function load(): Promise<void> {
    while (!isOver) {
      const number = count++;
      const known = kinds[number % kinds.length]?.(number);
      if (known === undefined) return;
      const run = await sandbox.run(known.program, limits);
      const came = cameOf(run);
      if (run.outcome === "fault") outcomes.fault++;
      else if (came === known.came) outcomes.right++;
      else wrong.push(`${came}, expected ${known.came}`);
    }
  }

  /** The daemon that runs now, which is another one than `killed`. */
  async function nextDaemon(killed: number | undefined): Promise<number> {
    for (;;) {
      const daemon = sandbox.processId();
      if (daemon !== undefined && daemon !== killed) return daemon;
      await Bun.sleep(1);
    }
  }

  const loads = Array.from({ length: 6 }, load);
  let killed: number | undefined;
  for (let kill = 0; kill < kills; kill++) {
    const daemon = await nextDaemon(killed);
    await Bun.sleep(20 + 180 * random());
    const workers = sandboxProcesses(daemon).filter(({ parent }) => parent === daemon);
    const victims = [{ pid: daemon }, ...workers];
    const victim = victims[Math.floor(random() * victims.length)];
    if (victim !== undefined) killNow(victim.pid);
    if (victim?.pid === daemon) killed = daemon;
  }
  // However often it is killed, it goes on.
  while (outcomes.right <= kills && wrong.length === 0) await Bun.sleep(1);
  isOver = true;
  await Promise.all(loads);
  expect(wrong).toEqual([]);
  // What was not in flight at two deaths is no fault.
  expect(outcomes.fault).toBeLessThanOrEqual(kills * 2);

  const after = await Promise.all(
    kinds.map((kind) => kind(7)).map(async ({ program, came }) => [cameOf(await sandbox.run(program, limits)), came]),
  );
  for (const [came, expected] of after) expect(came).toBe(expected ?? "");
}, 120_000);

test("a killed daemon takes everything with it", async () => {
  const held = sandbox.run({ mode: "stdin", code: "import time\ntime.sleep(1000)", stdin: "" }, limits);
  const daemon = sandbox.processId() ?? 0;
  while (sandboxProcesses(daemon).length < 4) await Bun.sleep(5);
  const family = familyOf(daemon);
  killNow(daemon);
  await untilNoneIsLeft("processes of a killed daemon", family.left);
  family.release();
  expect((await held).outcome).toBe("wall-limit");
  // Groups of the killed daemon are swept by the next one, or by another one that just starts.
  await untilNoneIsLeft("cgroups of a killed daemon", () => cgroupsOf(daemon));
}, 60_000);

/** The process may have ended by itself since it was seen. */
function killNow(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {}
}
