// The client's side of the sandbox, with a daemon that is scripted (__fixtures__/fake-daemon.ts): what the real one does stands in
// attacks.test.ts and kills.test.ts.
import { afterEach, beforeEach, expect, test } from "bun:test";
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isAlive } from "./__fixtures__/processes.ts";
import { bodyBytesMax } from "./frames.ts";
import { limitsMax } from "./protocol.ts";
import { type Sandbox, startSandbox } from "./sandbox.ts";
import { SandboxError } from "./sandbox-error.ts";

let state: string;
let sandbox: Sandbox | undefined;
beforeEach(() => {
  state = mkdtempSync(join(tmpdir(), "gradus-sandbox-"));
});
afterEach(async () => {
  await sandbox?.close();
  sandbox = undefined;
  rmSync(state, { recursive: true, force: true });
});

/** A program that starts the fake daemon with this test's folder. */
function fakeBinary(): string {
  const path = join(state, "fake-sandboxd");
  const quoted = [process.execPath, join(import.meta.dir, "__fixtures__", "fake-daemon.ts"), state].map(
    (word) => `'${word}'`,
  );
  writeFileSync(path, `#!/bin/sh\nexec ${quoted.join(" ")} "$@"\n`);
  chmodSync(path, 0o755);
  return path;
}

async function started(): Promise<Sandbox> {
  sandbox = await startSandbox({ binary: fakeBinary() });
  return sandbox;
}

const program = (code: string, stdin = "") => ({ mode: "stdin", code, stdin }) as const;
const lines = (name: string) =>
  existsSync(join(state, name)) ? readFileSync(join(state, name), "utf8").trim().split("\n") : [];
const pids = () => lines("starts").map((line) => Number(line.split(" ")[0]));
const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

test("a run's result comes back whole", async () => {
  const { run, tier, workers } = await started();
  expect([tier, workers]).toEqual(["A", 2]);
  const result = await run(program("echo", "input ü"));
  expect(text(result.stdout)).toBe("input ü");
  expect({ ...result, stdout: null }).toEqual({
    outcome: "exited",
    exitCode: 0,
    signal: null,
    cpuMs: 1,
    wallMs: 2,
    memoryPeakMiB: 3,
    stdout: null,
    stderr: "entry undefined",
    answers: [],
    tier: "A",
  });
});

test("calls go out as lines of JSON; answers come back, never more of them than calls", async () => {
  const { run } = await started();
  const calls = [[1, { f: "2.0" }], ["\ud800"]];
  const result = await run({ mode: "calls", code: "echo", entry: "solve", calls });
  expect(text(result.stdout)).toBe('[1,{"f":"2.0"}]\n["\\ud800"]\n');
  expect(result.stderr).toBe("entry solve");
  expect(result.answers).toEqual([{ value: 1 }, { error: "E", message: "m" }]);
});

test("options become the daemon's arguments", async () => {
  sandbox = await startSandbox({
    binary: fakeBinary(),
    workers: 3,
    python: "/usr/bin/python3",
    tier: "B",
    cgroup: "/a/b",
  });
  expect(lines("starts")[0]).toEndWith(" --workers 3 --python /usr/bin/python3 --tier B --cgroup /a/b");
});

test("a thousand runs at once come back each to its own caller, and large ones do not stop the event loop", async () => {
  const { run } = await started();
  let ticks = 0;
  const clock = setInterval(() => ticks++, 1);
  const inputs = Array.from(
    { length: 1000 },
    (_, index) => `${index} ${"x".repeat(index % 50 === 0 ? 1_000_000 : 10)}`,
  );
  const results = await Promise.all(inputs.map((stdin) => run(program("echo", stdin))));
  clearInterval(clock);
  expect(results.map(({ stdout }) => text(stdout))).toEqual(inputs);
  expect(ticks).toBeGreaterThan(10);
});

test("no more runs are handed over than the daemon can soon use", async () => {
  const { run } = await started();
  const abort = new AbortController();
  const held = Array.from({ length: 40 }, () => run(program("hold"), {}, abort.signal));
  while (lines("runs").length < 8) await Bun.sleep(1);
  const last = run(program("echo"));
  abort.abort();
  expect((await Promise.all(held)).map(({ outcome }) => outcome)).toEqual(Array(40).fill("cancelled"));
  expect((await last).outcome).toBe("exited");
  // Eight were held by the daemon, the other 32 were cancelled before it knew of them.
  expect(lines("runs").length).toBe(9);
});

test("an aborted signal cancels a run wherever it is", async () => {
  const { run } = await started();
  expect((await run(program("echo"), {}, AbortSignal.abort())).outcome).toBe("cancelled");
  const abort = new AbortController();
  const held = run(program("hold"), {}, abort.signal);
  while (lines("runs").length < 1) await Bun.sleep(1);
  abort.abort();
  expect((await held).outcome).toBe("cancelled");
  expect((await run(program("echo"))).outcome).toBe("exited");
});

const deaths = ["die", "garbage", "oversized", "stranger", "nonsense", "blobless"];
for (const order of deaths) {
  test(`"${order}": runs in flight are tried once more on a new daemon, then they are faults`, async () => {
    const { run } = await started();
    const abort = new AbortController();
    const bystander = run(program("hold once bystander"), {}, abort.signal);
    expect(text((await run(program(`${order} once first`))).stdout)).toBe("second try");
    expect(text((await bystander).stdout)).toBe("second try");
    const hopeless = await run(program(order));
    expect([hopeless.outcome, hopeless.exitCode]).toEqual(["fault", null]);
    expect(hopeless.reason).toContain("died under it twice");
    expect((await run(program("echo", "still here"))).outcome).toBe("exited");
    // A daemon that broke the protocol is killed, and not waited for.
    while (pids().slice(0, -1).some(isAlive)) await Bun.sleep(1);
  });
}

for (const order of deaths) {
  test(`"${order}": a run under which every daemon ends is the only fault among those beside it`, async () => {
    const { run } = await started();
    // More than are handed over at once, the guilty one first: none of the others has ended when the daemon does.
    const runs = [run(program(order)), ...Array.from({ length: 12 }, (_, index) => run(program("echo", `${index}`)))];
    const [guilty, ...others] = await Promise.all(runs);
    expect(guilty?.outcome).toBe("fault");
    expect(others.map(({ stdout }) => text(stdout))).toEqual(others.map((_, index) => `${index}`));
    // One daemon for all, one for the guilty run alone, one for the others.
    expect(pids().length).toBe(3);
  });
}

test("two guilty runs among others are the only faults", async () => {
  const { run } = await started();
  const orders = ["die", "echo", "echo", "garbage", "echo", "echo"];
  const outcomes = await Promise.all(orders.map((order) => run(program(order))));
  expect(outcomes.map(({ outcome }) => outcome)).toEqual(
    orders.map((order) => (order === "die" || order === "garbage" ? "fault" : "exited")),
  );
});

test("the highest limits are limits", async () => {
  const { run } = await started();
  const abort = new AbortController();
  const held = run(program("hold"), limitsMax, abort.signal);
  for (let round = 0; round < 20; round++) await run(program("echo"), limitsMax);
  abort.abort();
  expect((await held).outcome).toBe("cancelled");
  expect(pids().length).toBe(1);
});

test("a fault that the daemon reports keeps its reason", async () => {
  const { run } = await started();
  expect(await run(program("fault"))).toMatchObject({ outcome: "fault", reason: "the zygote died" });
});

test("a daemon that does not start again makes faults, and is tried again by later runs", async () => {
  const { run } = await started();
  writeFileSync(join(state, "greeting.json"), "nothing");
  const results = await Promise.all([run(program("die")), run(program("echo")), run(program("echo"))]);
  expect(results[0]?.outcome).toBe("fault");
  expect(results[0]?.reason).toContain("does not start again");
  rmSync(join(state, "greeting.json"));
  expect((await run(program("echo"))).outcome).toBe("exited");
});

test("what cannot be sent is a fault of that run alone", async () => {
  const { run } = await started();
  const [good, ...bad] = await Promise.all([
    run(program("echo")),
    run({ mode: "calls", code: "echo", entry: "x".repeat(70_000), calls: [] }),
    run({ mode: "calls", code: "echo", entry: "\ud800", calls: [] }),
    run({ mode: "stdin", code: "echo", stdin: new Uint8Array(bodyBytesMax) }),
    run(program("echo"), { cpuMs: 0.5 }),
    run(program("echo"), { outputBytes: limitsMax.outputBytes + 1 }),
    run(program("echo"), { wallMs: 2 ** 33 }),
  ]);
  expect(good.outcome).toBe("exited");
  expect(bad.map(({ outcome }) => outcome)).toEqual(bad.map(() => "fault"));
  expect(bad[3]?.reason).toContain("limit cpuMs is 0.5");
  expect(bad[4]?.reason).toContain("limit outputBytes is 100663297; expected a whole number from 1 to 100663296");
  expect(lines("runs").length).toBe(1);
  expect(pids().length).toBe(1);
});

test("a refusal is a SandboxError that names the primitive and the remedy", async () => {
  const refusal = {
    type: "refused",
    protocol: 1,
    reason: "unshare: EPERM",
    remedy: "allow user namespaces",
    walls: [],
  };
  writeFileSync(join(state, "greeting.json"), JSON.stringify(refusal));
  const error = await started().catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(SandboxError);
  expect(error).toMatchObject({ code: "sandbox-refused", reason: "unshare: EPERM", remedy: "allow user namespaces" });
});

for (const [name, greeting] of [
  ["no greeting", "nothing"],
  ["a broken frame", "garbage"],
  ["another protocol", JSON.stringify({ type: "ready", protocol: 2, tier: "A", workers: 1, python: "", walls: [] })],
] as const) {
  test(`${name} at the start is a SandboxError, and leaves no process`, async () => {
    writeFileSync(join(state, "greeting.json"), greeting);
    expect(await started().catch((reason: unknown) => reason)).toMatchObject({ code: "sandbox-failed" });
    while (pids().some(isAlive)) await Bun.sleep(1);
  });
}

test("a missing daemon is a SandboxError that says what to do", async () => {
  const error = await startSandbox({ binary: join(state, "nowhere") }).catch((reason: unknown) => reason);
  expect(error).toMatchObject({ code: "sandbox-failed" });
});

test("close makes open runs faults and leaves no process, also while a daemon is starting", async () => {
  const { run, close } = await started();
  const open = [run(program("hold")), run(program("die")), run(program("echo"))];
  while (pids().length < 2) await Bun.sleep(1);
  await close();
  const outcomes = (await Promise.all(open)).map(({ outcome }) => outcome);
  expect(outcomes[0]).toBe("fault");
  expect(pids().filter(isAlive)).toEqual([]);
  expect(await run(program("echo"))).toMatchObject({ outcome: "fault", reason: "the sandbox is closed" });
});

const source = (end: string) => `import { startSandbox } from ${JSON.stringify(join(import.meta.dir, "sandbox.ts"))};
  const sandbox = await startSandbox({ binary: ${JSON.stringify(join(state, "fake-sandboxd"))} });
    const { outcome } = await sandbox.run({ mode: "stdin", code: "echo", stdin: "" });
    console.log(outcome, sandbox.processId());
    ${end}`;

test("a program that forgets its sandbox still ends, and the daemon with it", async () => {
  fakeBinary();
  const child = Bun.spawn([process.execPath, "-e", source("")], { stdout: "pipe" });
  const [outcome, pid] = (await new Response(child.stdout).text()).trim().split(" ");
  expect([outcome, await child.exited]).toEqual(["exited", 0]);
  expect(pids().map(String)).toEqual([pid ?? ""]);
  while (pids().some(isAlive)) await Bun.sleep(1);
});

test("a program that is killed takes the daemon with it", async () => {
  fakeBinary();
  const child = Bun.spawn(
    [process.execPath, "-e", source('await sandbox.run({ mode: "stdin", code: "hold", stdin: "" });')],
    {
      stdout: "pipe",
    },
  );
  while (lines("runs").length < 2) await Bun.sleep(1);
  const pid = Number(pids()[0]);
  expect(isAlive(pid)).toBe(true);
  child.kill("SIGKILL");
  await child.exited;
  while (isAlive(pid)) await Bun.sleep(1);
});
