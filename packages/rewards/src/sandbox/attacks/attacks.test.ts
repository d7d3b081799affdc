// Every attack of crates/sandbox/tests/attacks, in tier A as root and in tier B as a plain user: it ends in an acceptable
// way, gets nothing, leaves nothing, and the next test finds the worker as a fresh one. Those that a cgroup answers, also
// in tier A as a plain user to whom root gave one. Where this runs as a plain user, or no cgroup can be had, tier B alone.
import { afterAll, expect, test } from "bun:test";
import { type Attack, attackList } from "../__fixtures__/attack-list.ts";
import { type Canaries, openCanaries } from "../__fixtures__/canaries.ts";
import { type HostMounts, hostMounts, tracesOf } from "../__fixtures__/host-mounts.ts";
import { type Lane, type LaneOptions, openLane, plainUser, type Report } from "../__fixtures__/lane.ts";
import { plainPython } from "../__fixtures__/plain-python.ts";
import { type PreparedCgroup, prepareCgroup, whyNoCgroup } from "../__fixtures__/prepared-cgroup.ts";

const isRoot = process.getuid?.() === 0;
const attacks = attackList();
/** Lanes a world: attacks of a world share nothing but its canaries. */
const lanesEach = 2;
const whyNoTierA = isRoot ? whyNoCgroup(plainUser) : "not root";
if (whyNoTierA !== undefined) console.log(`attacks: tier A is not tried: ${whyNoTierA}`);

/** What all worlds have in common, set up by the first attack, so that a run of other tests alone leaves nothing open. */
type Ground = {
  readonly canaries: Canaries;
  readonly mountsBefore: HostMounts;
};
let ground: Promise<Ground> | undefined;

async function openGround(): Promise<Ground> {
  const canaries = await openCanaries();
  const mountsBefore = hostMounts();
  return { canaries, mountsBefore };
}

function groundOf(): Promise<Ground> {
  ground ??= openGround();
  return ground;
}

/** A tier and a user: lanes that start with the first attack, each of which takes one attack after another. */
class World {
  readonly title: string;
  readonly attacks: readonly Attack[];
  readonly #options: (ground: Ground) => LaneOptions;
  #lanes: Promise<readonly Lane[]> | undefined;
  readonly #ends = Array.from({ length: lanesEach }, () => Promise.resolve());

  constructor(title: string, attacks: readonly Attack[], options: (ground: Ground) => LaneOptions) {
    this.title = title;
    this.attacks = attacks;
    this.#options = options;
  }

  attack(attack: Attack): Promise<Report> {
    const place = this.attacks.indexOf(attack) % lanesEach;
    const report = (this.#ends[place] ?? Promise.resolve()).then(async () => {
      this.#lanes ??= this.#open();
      const lane = (await this.#lanes)[place];
      if (lane === undefined) throw new Error("there is no such lane");
      return lane.attack(attack);
    });
    // A report that fails is told by its own test.
    this.#ends[place] = report.then(
      () => undefined,
      () => undefined,
    );
    return report;
  }

  async #open(): Promise<Lane[]> {
    const options = this.#options(await groundOf());
    return Promise.all(this.#ends.map(() => openLane(options)));
  }

  /** What is left of each lane that was opened. */
  async close() {
    const lanes = (await this.#lanes) ?? [];
    return Promise.all(lanes.map((lane) => lane.close()));
  }
}

const python = plainPython();
const asUser = { asPlainUser: isRoot, python: isRoot ? python : undefined };
const worlds: World[] = [];
/** What the world that needs it has prepared. */
let cgroup: PreparedCgroup | undefined;
if (whyNoTierA === undefined) {
  const asRoot = { tier: "A", asPlainUser: false, python: undefined, cgroup: undefined } as const;
  worlds.push(new World("tier A as root", attacks, ({ canaries }) => ({ ...asRoot, canaries })));
  // What differs from tier A as root is who may do what with the cgroup.
  const counted = attacks.filter(({ name }) => /^(memory|fork|busy|thread|zombie|daemon|kill)/.test(name));
  const inGroup = ({ canaries }: Ground) => {
    cgroup = prepareCgroup(plainUser);
    return { ...asUser, tier: "A", canaries, cgroup } as const;
  };
  worlds.push(new World("tier A as a plain user", counted, inGroup));
}
const watched = ({ canaries }: Ground) => ({ ...asUser, tier: "B", canaries, cgroup: undefined }) as const;
worlds.push(new World("tier B as a plain user", attacks, watched));

// By attack and not by world, so that the tests that go on at the same time are of all worlds.
for (const attack of attacks) {
  for (const world of worlds.filter((world) => world.attacks.includes(attack))) {
    const title = `${world.title}: ${attack.name}: ${attack.tries}`;
    test.concurrent(title, async () => {
      const [report, { canaries }] = await Promise.all([world.attack(attack), groundOf()]);
      checkEnd(attack, report);
      checkGain(report, canaries);
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
function checkGain({ run, expected }: Report, canaries: Canaries): void {
  const said = new TextDecoder().decode(run.stdout) + run.stderr + JSON.stringify(run.answers);
  expect(said.match(/LEAK:.*/g) ?? []).toEqual([]);
  expect(said).not.toContain(canaries.secret);
  expect(said).not.toContain(String(expected));
}

/** What it left, and how the next test fared. */
function checkRest(attack: Attack, { aftermaths, pidsKept, mounts, marksLeft }: Report): void {
  const [before, after] = aftermaths;
  expect(before.outcome, before.printed).toBe("exited 0");
  expect(after.outcome, after.printed).toBe("exited 0");
  expect(JSON.parse(after.printed)).toEqual(JSON.parse(before.printed));
  expect(marksLeft).toEqual([]);
  if (attack.pidsKept) expect(pidsKept, "the sandbox's own processes were replaced").toBe(true);
  expect(mounts[1].length).toBe(mounts[0].length);
  expect(after.cpuMs).toBeLessThan(5 * before.cpuMs + 200);
}

// No server was reached, nobody outside was killed, nothing is left on the host: of however many attacks were asked for.
afterAll(async () => {
  if (ground === undefined) return;
  const { canaries, mountsBefore } = await ground;
  try {
    const closed = (await Promise.all(worlds.map((world) => world.close()))).flat();
    expect(closed).toEqual(closed.map(() => ({ isCanaryAlive: true, cgroupsLeft: [] })));
    expect(canaries.visits()).toBe(0);
    expect(tracesOf(mountsBefore, hostMounts(), canaries.folders)).toEqual([]);
  } finally {
    canaries.close();
    cgroup?.remove();
  }
}, 120_000);
