// A sandbox with one worker that takes attacks one after another, with a harmless test before and after each.
import { randomBytes } from "node:crypto";
import { chmodSync, copyFileSync, mkdtempSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { sandboxBinary } from "../binary.ts";
import type { Run, Tier } from "../protocol.ts";
import { startSandbox } from "../sandbox.ts";
import { type Attack, aftermathProgram, attackLimits, attackProgram } from "./attack-list.ts";
import type { Canaries } from "./canaries.ts";
import type { PreparedCgroup } from "./prepared-cgroup.ts";
import { cgroupsOf, familyOf, type HostProcess, mountsOf, sandboxProcesses, untilNoneIsLeft } from "./processes.ts";

/** A user without a name, a login or files. */
export const plainUser = 61_234;

export type LaneOptions = {
  readonly tier: Tier;
  /** Whether the daemon runs as a plain user; only root can make it so. */
  readonly asPlainUser: boolean;
  readonly python: string | undefined;
  /** What root prepared for the plain user. */
  readonly cgroup: PreparedCgroup | undefined;
  readonly canaries: Canaries;
};

/** What an attack did, and what was left of it. */
export type Report = {
  readonly run: Run;
  /** The secret number that would have been the right answer. */
  readonly expected: number;
  /** What the harmless test printed before the attack and after it, and the processor time that it cost. */
  readonly aftermaths: readonly [Aftermath, Aftermath];
  readonly pidsKept: boolean;
  readonly mounts: readonly [readonly string[], readonly string[]];
  readonly marksLeft: readonly string[];
};
export type Aftermath = {
  readonly outcome: string;
  readonly printed: string;
  readonly cpuMs: number;
};

export type Lane = {
  readonly attack: (attack: Attack) => Promise<Report>;
  /** Ends the sandbox and waits for all its processes; whether the one that attacks were to kill is alive, and what cgroups are left. */
  readonly close: () => Promise<{ isCanaryAlive: boolean; cgroupsLeft: readonly string[] }>;
};

/** A command that starts the daemon in a world full of secrets: in its environment, in a descriptor, as another user. */
function wrapDaemon({ canaries, asPlainUser, cgroup }: LaneOptions): string {
  const folder = mkdtempSync(join(canaries.folder, "lane-"));
  chmodSync(folder, 0o755);
  const binary = join(folder, "gradus-sandboxd");
  copyFileSync(sandboxBinary(), binary);
  chmodSync(binary, 0o755);
  const path = join(folder, "start");
  const become = asPlainUser ? `setpriv --reuid=${plainUser} --regid=${plainUser} --clear-groups ` : "";
  const lines = [
    "#!/bin/sh",
    `export GRADUS_CANARY_TOKEN=${canaries.secret}`,
    ...(cgroup?.joinFiles ?? []).map((file) => `echo $$ > ${file}`),
    `exec 9< ${join(canaries.folder, "secret.txt")}`,
    `exec ${become}${binary} "$@"`,
  ];
  writeFileSync(path, `${lines.join("\n")}\n`, { mode: 0o755 });
  return path;
}

/** Starts a sandbox of the tier, with one worker, and runs its first harmless test. */
export async function openLane(options: LaneOptions): Promise<Lane> {
  const { tier, python, cgroup, canaries } = options;
  const sandbox = await startSandbox({
    tier,
    workers: 1,
    binary: wrapDaemon(options),
    ...(python === undefined ? {} : { python }),
    ...(cgroup === undefined ? {} : { cgroup: cgroup.path }),
  });
  const daemonPid = sandbox.processId() ?? 0;
  const worker = sandboxProcesses(daemonPid).find(({ uid }) => uid !== process.getuid?.());
  const user = worker === undefined ? [] : ["setpriv", `--reuid=${worker.uid}`, "--clear-groups"];
  const canary = Bun.spawn([...user, "sleep", "100000"], { stdio: ["ignore", "ignore", "ignore"] });
  const interpreterWay = folderOf(python ?? "python3")
    .split("/")
    .filter((part) => part !== "");
  let earlier = newEarlier();

  async function lookAround(): Promise<Aftermath> {
    earlier = newEarlier();
    const { outcome, exitCode, stdout, stderr, cpuMs } = await sandbox.run(aftermathProgram(earlier), {
      ...attackLimits,
      cpuMs: 20_000,
      wallMs: 20_000,
    });
    const printed = new TextDecoder().decode(stdout) + stderr;
    return { outcome: `${outcome} ${exitCode}`, printed, cpuMs };
  }

  async function attack(chosen: Attack): Promise<Report> {
    const before = latest;
    const idle = await settled(`before ${chosen.name}`, daemonPid, idleCount);
    const mark = randomBytes(6).toString("hex");
    const limits = { ...attackLimits, ...chosen.limits };
    const given = { ...canaries.given, interpreterWay, limits, mark, earlier, daemonPid, canaryPid: canary.pid };
    const expected = Number.parseInt(randomBytes(6).toString("hex"), 16);
    const run = await sandbox.run(attackProgram(chosen, given), limits);
    const after = await lookAround();
    latest = after;
    const left = await settled(`after ${chosen.name}`, daemonPid, idleCount);
    return {
      run,
      expected,
      aftermaths: [before, after],
      pidsKept: JSON.stringify(left.map(({ pid }) => pid)) === JSON.stringify(idle.map(({ pid }) => pid)),
      mounts: [mountsOf(idle), mountsOf(left)],
      marksLeft: canaries.marks(mark),
    };
  }

  async function close() {
    const family = familyOf(daemonPid);
    await sandbox.close();
    const isCanaryAlive = canary.exitCode === null && canary.signalCode === null;
    canary.kill("SIGKILL");
    await canary.exited;
    await untilNoneIsLeft(`processes of the closed sandbox ${daemonPid}`, family.left);
    family.release();
    return { isCanaryAlive, cgroupsLeft: cgroupsOf(daemonPid) };
  }

  // What a test finds in a fresh worker; the worker's second test, so that its first touch of files is paid for.
  await lookAround();
  let latest = await lookAround();
  const idleCount = await idleProcesses(daemonPid);
  return { attack, close };
}

/** Where an interpreter is installed: the only part of the host that tests may see. */
function folderOf(python: string): string {
  return Bun.spawnSync([python, "-c", "import sys; print(sys.base_prefix)"]).stdout.toString().trim();
}

function newEarlier(): string {
  return `earlier-${randomBytes(12).toString("hex")}`;
}

/** How many processes the sandbox has when it has nothing to do: the fewest seen over a moment. */
async function idleProcesses(daemonPid: number): Promise<number> {
  let fewest = Number.POSITIVE_INFINITY;
  for (let sample = 0; sample < 20; sample++) {
    fewest = Math.min(fewest, sandboxProcesses(daemonPid).length);
    await Bun.sleep(10);
  }
  return fewest;
}

/** The sandbox's processes once there are no more than `idleCount`. */
async function settled(when: string, daemonPid: number, idleCount: number): Promise<HostProcess[]> {
  let processes: HostProcess[] = [];
  await untilNoneIsLeft(`${when}, of ${idleCount} processes`, () => {
    processes = sandboxProcesses(daemonPid);
    return processes.length <= idleCount ? [] : processes.map(({ pid, name }) => `${pid} ${name}`);
  });
  return processes;
}
