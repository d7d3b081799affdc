// Every attack of crates/sandbox/tests/attacks, in tier A as root and in tier B as a plain user: it ends in an acceptable
// way, gets nothing, leaves nothing, and the next test finds the worker as a fresh one. Those that a cgroup answers, also
// in tier A as a plain user to whom root gave one. Where this runs as a plain user, tier B alone.
import { afterAll, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { type Attack, attackList } from "./attack-list.ts";
import { openCanaries } from "./canaries.ts";
import { type Lane, type LaneOptions, openLane, plainUser, type Report } from "./lane.ts";
import { plainPython } from "./plain-python.ts";
import { prepareCgroup } from "./prepared-cgroup.ts";

const isRoot = process.getuid?.() === 0;
const attacks = attackList();
/** Lanes a world: attacks of a world share nothing but its canaries. */
const lanesEach = 2;
if (!isRoot) console.log("attacks: not root, so tier A as root is not tried");

type World = {
  readonly title: string;
  readonly lanes: readonly Lane[];
  readonly attacks: readonly Attack[];
  readonly reports: ReadonlyMap<string, Promise<Report>>;
};

const python = plainPython();
const canaries = await openCanaries();
const mountsBefore = readFileSync("/proc/self/mountinfo", "utf8");
const cgroup = isRoot ? prepareCgroup(plainUser) : undefined;
const asUser = { asPlainUser: isRoot, python: isRoot ? python : undefined, canaries };
const worlds: World[] = [];
if (isRoot) {
  const asRoot = { tier: "A", asPlainUser: false, python: undefined, cgroup: undefined, canaries } as const;
  worlds.push(await openWorld("tier A as root", attacks, asRoot));
  // What differs from tier A as root is who may do what with the cgroup.
  const counted = attacks.filter(({ name }) => /^(memory|fork|busy|thread|zombie|daemon|kill)/.test(name));
  worlds.push(await openWorld("tier A as a plain user", counted, { ...asUser, tier: "A", cgroup }));
}
worlds.push(await openWorld("tier B as a plain user", attacks, { ...asUser, tier: "B", cgroup: undefined }));

/** Starts the lanes of a world and all attacks on them; the tests below wait for each. */
async function openWorld(title: string, attacks: readonly Attack[], options: LaneOptions): Promise<World> {
  const lanes = await Promise.all(Array.from({ length: lanesEach }, () => openLane(options)));
  const reports = new Map<string, Promise<Report>>();
  const ends = lanes.map(() => Promise.resolve());
  for (const [index, attack] of attacks.entries()) {
    const lane = index % lanesEach;
    const report = (ends[lane] ?? Promise.resolve()).then(() => attackOn(lanes[lane], attack));
    reports.set(attack.name, report);
    // A report that fails is told by its own test.
    ends[lane] = report.then(
      () => undefined,
      () => undefined,
    );
  }
  return { title, lanes, attacks, reports };
}

function attackOn(lane: Lane | undefined, attack: Attack): Promise<Report> {
  if (lane === undefined) throw new Error("there is no such lane");
  return lane.attack(attack);
}

for (const { title, attacks, reports } of worlds) {
  for (const attack of attacks) {
    test(`${title}: ${attack.name}: ${attack.tries}`, async () => {
      const report = await reports.get(attack.name);
      if (report === undefined) throw new Error("it was not carried out");
      checkEnd(attack, report);
      checkGain(report);
      checkRest(attack, report);
    }, 120_000);
  }
}

/** How the attack ended. */
function checkEnd(attack: Attack, { run }: Report): void {
  const stdout = new TextDecoder().decode(run.stdout);
  const how = `${run.outcome} ${run.exitCode ?? run.signal} ${run.reason ?? ""}\n${stdout.slice(-300)}\n${run.stderr}`;
  expect<readonly string[]>(attack.outcomes, how).toContain(run.outcome);
  if (attack.mode === "stdin" && attack.done && run.outcome === "exited") expect(stdout, how).toContain("done\n");
  if (attack.mode === "stdin" && !attack.traceback) expect(run.stderr).not.toContain("Traceback");
  if (attack.exitCode !== undefined) expect(run.exitCode).toBe(attack.exitCode);
  if (attack.stdoutHex !== undefined) expect(Buffer.from(run.stdout).toString("hex")).toBe(attack.stdoutHex);
  if (attack.answers !== undefined) expect<readonly unknown[]>(run.answers).toEqual(attack.answers);
  if (attack.answersMax !== undefined) expect(run.answers.length).toBeLessThanOrEqual(attack.answersMax);
}

/** What it got: no boast, no secret, not the right answer. */
function checkGain({ run, expected }: Report): void {
  const said = new TextDecoder().decode(run.stdout) + run.stderr + JSON.stringify(run.answers);
  expect(said.match(/LEAK:.*/g) ?? []).toEqual([]);
  expect(said).not.toContain(canaries.secret);
  expect(said).not.toContain(String(expected));
}

/** What it left, and how the next test fared. */
function checkRest(attack: Attack, { probes, processesLeft, pidsKept, mounts, marksLeft }: Report): void {
  const [before, after] = probes;
  expect(before.outcome, before.printed).toBe("exited 0");
  expect(after.outcome, after.printed).toBe("exited 0");
  expect(JSON.parse(after.printed)).toEqual(JSON.parse(before.printed));
  expect(processesLeft).toEqual([]);
  expect(marksLeft).toEqual([]);
  if (attack.pidsKept) expect(pidsKept, "the sandbox's own processes were replaced").toBe(true);
  expect(mounts[1].length).toBe(mounts[0].length);
  expect(after.cpuMs).toBeLessThan(5 * before.cpuMs + 200);
  expect(after.tookMs).toBeLessThan(5 * before.tookMs + 2000);
}

test("no server was reached, nobody outside was killed, nothing is left on the host", async () => {
  for (const { reports } of worlds) await Promise.allSettled(reports.values());
  for (const { lanes } of worlds) {
    for (const lane of lanes) expect(await lane.close()).toEqual({ isCanaryAlive: true, left: [] });
  }
  expect(canaries.visits()).toBe(0);
  expect(readFileSync("/proc/self/mountinfo", "utf8")).toBe(mountsBefore);
}, 120_000);

afterAll(() => {
  canaries.close();
  cgroup?.remove();
});
