// A contest: we and a peer do the same job by turns, and the machine's limits are measured between the turns.
import { setTimeout as pause } from "node:timers/promises";
import { type Answer, Child } from "./child.ts";
import type { Command, Job, Sample } from "./jobs.ts";
import type { Peaks } from "./limits.ts";
import type { MachineKind, Target, Unit } from "./rows.ts";

/** One row of the result, computed from the repeats of both. */
export type RowPlan = {
  readonly work: string;
  readonly unit: Unit;
  readonly target: Target;
  /** What the peer gave on machines of a known kind with 2 threads, in the row's unit. */
  readonly known?: Partial<Record<MachineKind, number>>;
  readonly needsBf16?: boolean;
  /** The figure of every repeat, of ours and of a peer alike. */
  readonly figures: (samples: readonly Sample[]) => number[];
  readonly limit: (peaks: Peaks, ours: readonly Sample[]) => number | null;
};

/**
 * `by-turns`: both processes live and repeat alternately. `apart`: where both would not fit into memory, each turn is a new
 * process with three repeats. `starting`: each repeat is a start, up to the moment when the first step begins.
 */
export type Turns = "by-turns" | "apart" | "starting";

/** The peers, by their scripts in benchmarks/peers. */
export type PeerScript = "train_step.py" | "generate.py" | "torch_loop.py" | "llama_generate.py" | "trl_step.py";

export type Contest = {
  readonly job: Job;
  /** Null where the limit alone is what counts. */
  readonly peer: PeerScript | null;
  readonly turns: Turns;
  readonly rows: readonly RowPlan[];
};

/** What one side did, or why it could not. */
export type Side = { name: string; samples: Sample[]; failure: string | null };

export type Sides = {
  readonly ours: Side;
  readonly peer: Side | null;
  readonly peaks: Peaks[];
  readonly check: string;
};

/** How to start one side, and how many repeats there are. */
export type Setting = {
  readonly ours: readonly string[];
  /** The peer's command, asked for once we have begun: finding it may take work. Null where there is no peer. */
  readonly peer: (() => Promise<readonly string[]>) | null;
  readonly peerEnvironment: Record<string, string>;
  readonly repeats: number;
  readonly measurePeaks: () => Promise<Peaks>;
  /** What the peer is asked about our warm-up; null where nothing is. */
  readonly questionOfWarm: (ours: Answer) => Command | null;
  /** Compares our warm-up with the peer's answer to that; gives what was found, throws where they differ. */
  readonly compareWarm: (ours: Answer, peer: Answer) => string;
};

const repeatsOfTurn = 3;
/** Threads of OpenMP spin for some milliseconds after their work; the other side must not feel it. */
const settleMilliseconds = 100;

/** Figures alone: names and tokens are left out. */
const numbersOf = (answer: Answer): Sample =>
  Object.fromEntries(
    Object.entries(answer).flatMap(([key, value]) => (typeof value === "number" ? [[key, value]] : [])),
  );

const newSide = (): Side => ({ name: "", samples: [], failure: null });

/** Does a part of one side's work; its failure is noted and ends that side's part in the contest. */
async function attempt<T>(side: Side, work: () => Promise<T>): Promise<T | undefined> {
  if (side.failure !== null) return undefined;
  try {
    return await work();
  } catch (error) {
    side.failure = error instanceof Error ? error.message : String(error);
    return undefined;
  }
}

async function ready(side: Side, command: readonly string[], env: Record<string, string> = {}): Promise<Child> {
  const [child, told] = await Child.start(command, env);
  side.name = String(told.name ?? "");
  return child;
}

const repeat = async (side: Side, child: Child, index: number) => {
  side.samples.push(numbersOf(await child.ask({ do: "repeat", index })));
  await pause(settleMilliseconds);
};

/** Runs a contest. A side that fails keeps its reason; without us the peer need not run. */
export async function runContest(turns: Turns, setting: Setting): Promise<Sides> {
  if (turns === "by-turns") return byTurns(setting);
  const sides = { ours: newSide(), peer: setting.peer === null ? null : newSide(), peaks: [] as Peaks[] };
  const turn = turns === "apart" ? turnApart : turnStarting;
  const length = turns === "apart" ? repeatsOfTurn : 1;
  for (let done = 0; done < setting.repeats; done += length) {
    const repeats = Math.min(length, setting.repeats - done);
    await attempt(sides.ours, () => turn(sides.ours, setting.ours, {}, repeats));
    if (sides.ours.failure !== null) break;
    const { peer } = sides;
    const { peer: command, peerEnvironment } = setting;
    if (peer !== null && command !== null) {
      await attempt(peer, async () => turn(peer, await command(), peerEnvironment, repeats));
    }
    sides.peaks.push(await setting.measurePeaks());
  }
  return { ...sides, check: "" };
}

async function byTurns(setting: Setting): Promise<Sides> {
  const sides = { ours: newSide(), peer: setting.peer === null ? null : newSide(), peaks: [] as Peaks[], check: "" };
  const { ours, peer } = sides;
  const children: Child[] = [];
  const open = async (side: Side, command: readonly string[], env?: Record<string, string>) => {
    const child = await ready(side, command, env);
    children.push(child);
    return { child, warm: await child.ask({ do: "warm", index: 0 }) };
  };
  try {
    const mine = await attempt(ours, () => open(ours, setting.ours));
    if (mine === undefined) return sides;
    const { peer: command } = setting;
    const theirs =
      peer === null || command === null
        ? undefined
        : await attempt(peer, async () => open(peer, await command(), setting.peerEnvironment));
    if (theirs !== undefined) {
      sides.check = await compareWarm(setting, sides, mine.warm, theirs.child);
    }
    for (let index = 0; index < setting.repeats && ours.failure === null; index += 1) {
      await attempt(ours, () => repeat(ours, mine.child, index));
      if (peer !== null && theirs !== undefined) await attempt(peer, () => repeat(peer, theirs.child, index));
      sides.peaks.push(await setting.measurePeaks());
    }
  } finally {
    await Promise.all(children.map((child) => child.stop()));
  }
  return sides;
}

/** A difference is our failure; an answer that the peer does not give is the peer's. */
async function compareWarm(setting: Setting, { ours, peer }: Sides, warm: Answer, child: Child): Promise<string> {
  const question = setting.questionOfWarm(warm);
  if (question === null || peer === null) return "";
  const answer = await attempt(peer, () => child.ask(question));
  if (answer === undefined) return "";
  return (await attempt(ours, async () => setting.compareWarm(warm, answer))) ?? "";
}

async function turnApart(side: Side, command: readonly string[], env: Record<string, string>, repeats: number) {
  const child = await ready(side, command, env);
  try {
    await child.ask({ do: "warm", index: 0 });
    for (let index = 0; index < repeats; index += 1) await repeat(side, child, index);
  } finally {
    await child.stop();
  }
}

async function turnStarting(side: Side, command: readonly string[], env: Record<string, string>) {
  const began = Date.now() / 1000;
  const [child, told] = await Child.start(command, env);
  await child.stop();
  side.name = String(told.name ?? "");
  side.samples.push({ seconds: Number(told.first_step_at) - began });
}
