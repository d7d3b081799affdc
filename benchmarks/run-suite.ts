// Runs contests one after the other and makes their rows: models and peers are prepared where a contest needs them.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { type Answer, Child } from "./child.ts";
import { compareLogprobs, compareRollouts, compareTraining } from "./compare.ts";
import { type Contest, type PeerScript, type RowPlan, runContest, type Sides } from "./contest.ts";
import type { Command, Job } from "./jobs.ts";
import type { Peaks } from "./limits.ts";
import { ggufFile, modelFolder } from "./models.ts";
import { isMet, isPeerSound, type MachineKind, median, type Row, ratioOf } from "./rows.ts";
import { peersPython, peersRemedy } from "./setup-peers.ts";

const root = join(import.meta.dir, "..");

/** What a peer's script runs, for rows in which it could not tell its own name and version. */
const peerNames: Record<PeerScript, string> = {
  "train_step.py": "PyTorch",
  "generate.py": "transformers generate",
  "torch_loop.py": "PyTorch loop",
  "llama_generate.py": "llama.cpp",
  "trl_step.py": "TRL",
};

/** The machine that a suite runs on. `limits` is the child that measures peaks. */
export type Machine = {
  readonly kind: MachineKind | undefined;
  readonly threads: number;
  readonly limitsProgram: string;
  readonly limits: Child;
  readonly hasBf16: boolean;
};

/** Asks the limits child once. */
export async function measurePeaks(limits: Child): Promise<Peaks> {
  const told = await limits.ask({ do: "repeat", index: 0 });
  const figure = (name: string) => (typeof told[name] === "number" ? told[name] : null);
  return {
    f32Gflops: figure("f32_gflops") ?? Number.NaN,
    bf16Gflops: figure("bf16_gflops"),
    int8Gops: figure("int8_gops"),
    readGbps: figure("read_gbps") ?? Number.NaN,
  };
}

/** The rows of a contest, those of `plans` alone, and the peaks measured meanwhile. */
export async function measureContest(
  contest: Contest,
  plans: readonly RowPlan[],
  machine: Machine,
  repeats: number,
): Promise<{ rows: Row[]; peaks: Peaks[] }> {
  if (plans.every(({ needsBf16 }) => needsBf16 === true) && !machine.hasBf16) {
    return { rows: plans.map((plan) => emptyRow(plan, "not run", "this machine has no AVX512_BF16")), peaks: [] };
  }
  try {
    const sides = await compete(contest, machine, repeats);
    return { rows: plans.map((plan) => rowOf(plan, contest, sides, machine)), peaks: sides.peaks };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return { rows: plans.map((plan) => emptyRow(plan, "failed", reason)), peaks: [] };
  }
}

async function compete(contest: Contest, machine: Machine, repeats: number): Promise<Sides> {
  const job = await withFolder(contest.job);
  const ours =
    job.kind === "product"
      ? [machine.limitsProgram, ...job.arguments]
      : [process.execPath, join(import.meta.dir, "ours.ts"), JSON.stringify(job)];
  const environment = {
    OMP_NUM_THREADS: String(machine.threads),
    TORCHINDUCTOR_CACHE_DIR: join(root, "build", "bench", "inductor"),
  };
  const peer = existsSync(peersPython) ? contest.peer : null;
  const sides = await runContest(contest.turns, {
    ours,
    peer: peer === null ? null : () => peerCommand(peer, job, environment),
    peerEnvironment: environment,
    repeats,
    measurePeaks: () => measurePeaks(machine.limits),
    questionOfWarm: (warm) => questionOfWarm(job, warm),
    compareWarm: (warm, scored) => compareWarm(job, warm, scored),
  });
  const { ours: mine, peer: theirs } = sides;
  if (theirs === null || mine.samples.length === 0 || theirs.samples.length === 0) return sides;
  if (job.kind === "train") return { ...sides, check: compareTraining(job.dtype, mine.samples, theirs.samples) };
  if (job.kind === "grpo" && contest.turns === "by-turns") {
    return { ...sides, check: compareRollouts(job, mine.samples, theirs.samples) };
  }
  return sides;
}

/** The job with the model's folder in place of its name. */
async function withFolder(job: Job): Promise<Job> {
  if (job.kind === "product") return job;
  return { ...job, folder: await modelFolder(job.folder === "T-ending" ? "T-ending" : job.model) };
}

/** Which of PyTorch's two ways is faster for a model and a dtype, found out once a run. */
const fasterModes = new Map<string, string>();

/** How to start a peer's script for a job. */
async function peerCommand(script: PeerScript, job: Job, env: Record<string, string>): Promise<string[]> {
  const command = (given: object) => [peersPython, join(import.meta.dir, "peers", script), JSON.stringify(given)];
  if (script === "llama_generate.py" && job.kind === "generate" && job.dtype !== "f32") {
    return command({ ...job, folder: await ggufFile(job.model, job.dtype, peersPython) });
  }
  if (job.kind !== "train") return command(job);
  const key = `${job.model} ${job.dtype}`;
  if (!fasterModes.has(key)) {
    const [child] = await Child.start(command(job), env);
    try {
      fasterModes.set(key, String((await child.ask({ do: "probe", index: 0 })).mode));
    } finally {
      await child.stop();
    }
  }
  return command({ ...job, mode: fasterModes.get(key) });
}

/** The peer is to score what we sampled. */
function questionOfWarm(job: Job, { tokens }: Answer): Command | null {
  return job.kind === "generate" && Array.isArray(tokens) ? { do: "score", tokens } : null;
}

/** The peer's logprobs of the tokens that we sampled are ours but for rounding. */
function compareWarm(job: Job, warm: Answer, scored: Answer): string {
  if (job.kind !== "generate") return "";
  if (!Array.isArray(warm.logprobs)) throw new Error("the warm-up told no logprobs");
  return compareLogprobs(job.dtype, warm.logprobs, Array.isArray(scored.logprobs) ? scored.logprobs : []);
}

function emptyRow(plan: RowPlan, state: Row["state"], note: string): Row {
  return {
    work: plan.work,
    unit: plan.unit,
    ours: null,
    peer: null,
    peer_name: null,
    ratio: null,
    limit: null,
    target: plan.target.value,
    target_kind: plan.target.kind,
    met: state === "not run" ? null : false,
    state,
    note,
    ours_repeats: [],
    peer_repeats: [],
  };
}

function rowOf(plan: RowPlan, contest: Contest, sides: Sides, machine: Machine): Row {
  if (sides.ours.failure !== null) return emptyRow(plan, "failed", sides.ours.failure);
  const { unit, target } = plan;
  const oursRepeats = plan.figures(sides.ours.samples);
  const peerRepeats = plan.figures(sides.peer?.samples ?? []);
  const ours = median(oursRepeats);
  const peer = peerRepeats.length === 0 ? null : median(peerRepeats);
  const limits = sides.peaks.map((peaks) => plan.limit(peaks, sides.ours.samples));
  const limit = limits.some((value) => value === null) ? null : median(limits.map(Number));
  const known = machine.kind !== undefined && machine.threads === 2 ? plan.known?.[machine.kind] : undefined;
  const [state, note] = stateOf(contest, sides, peer === null || isPeerSound(unit, peer, known));
  return {
    work: plan.work,
    unit,
    ours,
    peer,
    peer_name: sides.peer?.name || (contest.peer === null ? null : peerNames[contest.peer]),
    ratio: peer === null ? null : ratioOf(unit, ours, peer),
    limit,
    target: target.value,
    target_kind: target.kind,
    met: state === "invalid" ? null : state === "measured" && isMet(unit, target, { ours, peer, limit }),
    state,
    note,
    ours_repeats: oursRepeats,
    peer_repeats: peerRepeats,
  };
}

/** The state of a row that we measured, and what there is to say of it: the reason, and what was compared. */
function stateOf(contest: Contest, sides: Sides, isSound: boolean): [Row["state"], string | null] {
  if (contest.peer !== null && sides.peer === null) return ["peer missing", peersRemedy];
  if (sides.peer !== null && sides.peer.failure !== null) return ["peer failed", sides.peer.failure];
  const found = sides.check === "" ? [] : [sides.check];
  if (isSound) return ["measured", found[0] ?? null];
  return ["invalid", ["below 0.8 of the peer's figure on this kind of machine", ...found].join("; ")];
}
