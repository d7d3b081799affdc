// A pool of worker processes for symbolic questions. A worker that takes too long or dies is replaced and its question
// asked once more of a fresh one; then it is a fault. A stuck question holds up its own worker only.
import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import type { AskSymbolic, SymbolicAnswer, SymbolicQuestion } from "./decide.ts";
import { answerSchema } from "./symbolic-protocol.ts";

export type SymbolicPool = {
  readonly ask: AskSymbolic;
  /** Process ids of the workers that are alive. */
  readonly processIds: () => readonly number[];
  /** Ends the workers; open questions become faults. */
  readonly close: () => void;
};

type Job = {
  readonly question: SymbolicQuestion;
  readonly resolve: (answer: SymbolicAnswer) => void;
  attempts: number;
};
type Worker = {
  readonly child: ChildProcess;
  ready: boolean;
  job?: Job | undefined;
  clock?: ReturnType<typeof setTimeout> | undefined;
  /** The worker's processor time, in milliseconds, when its question came. */
  workedBefore?: number | undefined;
  slow?: ReturnType<typeof setTimeout> | undefined;
};

/**
 * One try's limit by the worker's own clock, its processor time, which load does not stretch; it catches only what the
 * guards before it missed. Where that clock cannot be read, time itself counts.
 */
const tryMilliseconds = 1000;
/** The limit by time itself, for a worker that waits instead of working. */
const tryMillisecondsMax = 10_000;
/** A worker that is not ready by then is killed. */
const startMilliseconds = 20_000;
/** After so long a question's worker is taken to be stuck, and its replacement starts before the clock ends it. */
const slowMilliseconds = 100;
/** When all workers were busy for so long, one more is started, so that stuck questions delay no other. */
const crowdedMilliseconds = 50;
const attemptsMax = 2;
/** Workers that may be stuck at once while others still answer. */
const spareWorkers = 4;

/**
 * A pool that starts its workers when they are first needed: one a core, and one more, so that a stuck question leaves
 * a worker for every core; further ones while questions wait.
 */
export function symbolicPool(options: { readonly workers?: number } = {}): SymbolicPool {
  const pool = new Pool(options.workers ?? availableParallelism() + 1);
  return {
    ask: (question) => new Promise((resolve) => pool.add({ question, resolve, attempts: 0 })),
    processIds: () => pool.processIds(),
    close: () => pool.close(),
  };
}

class Pool {
  readonly #usual: number;
  readonly #workers = new Set<Worker>();
  readonly #waiting: Job[] = [];
  #nextId = 0;
  #isClosed = false;
  #failedStarts = 0;
  #crowded: ReturnType<typeof setTimeout> | undefined;

  constructor(usual: number) {
    this.#usual = usual;
  }

  add(job: Job): void {
    if (this.#isClosed) return void job.resolve({ fault: "the symbolic pool is closed" });
    this.#waiting.push(job);
    this.#dispatch();
  }

  processIds(): number[] {
    return [...this.#workers].flatMap(({ child }) => (child.pid === undefined ? [] : [child.pid]));
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#crowded);
    for (const { resolve } of this.#waiting.splice(0)) resolve({ fault: "the symbolic pool is closed" });
    for (const { child } of this.#workers) child.kill("SIGKILL");
  }

  #dispatch(): void {
    for (const worker of this.#workers) {
      if (this.#waiting.length === 0) break;
      if (worker.ready && !worker.job) this.#give(worker, this.#waiting.shift());
    }
    const starting = [...this.#workers].filter(({ ready }) => !ready).length;
    if (this.#waiting.length > starting && this.#workers.size < this.#usual) this.#start();
    if (this.#waiting.length > 0 && !this.#crowded && this.#workers.size < this.#usual + spareWorkers) {
      this.#crowded = setTimeout(() => this.#relieve(), crowdedMilliseconds);
      this.#crowded.unref?.();
    }
  }

  #relieve(): void {
    this.#crowded = undefined;
    const isStarting = [...this.#workers].some(({ ready }) => !ready);
    if (this.#waiting.length > 0 && !isStarting && !this.#isClosed) this.#start();
    this.#dispatch();
  }

  #replace(): void {
    const hasFree = [...this.#workers].some(({ ready, job }) => !ready || !job);
    if (!hasFree && !this.#isClosed && this.#workers.size < this.#usual + spareWorkers) this.#start();
  }

  #give(worker: Worker, job: Job | undefined): void {
    if (!job) return;
    worker.job = job;
    job.attempts++;
    worker.workedBefore = processorMilliseconds(worker.child.pid);
    worker.clock = setTimeout(() => endLate(worker, tryMilliseconds), tryMilliseconds);
    worker.slow = setTimeout(() => this.#replace(), slowMilliseconds);
    setReferenced(worker, true);
    // A worker that died a moment ago cannot be sent to; its exit brings the question back.
    worker.child.send({ id: this.#nextId++, ...job.question }, () => undefined);
  }

  #start(): void {
    const child = spawn(process.execPath, [workerFile()], { stdio: ["ignore", "ignore", "ignore", "ipc"] });
    const worker: Worker = { child, ready: false };
    this.#workers.add(worker);
    worker.clock = setTimeout(() => child.kill("SIGKILL"), startMilliseconds);
    child.on("message", (message) => this.#answered(worker, message));
    child.on("error", () => this.#ended(worker));
    child.on("exit", () => this.#ended(worker));
  }

  #answered(worker: Worker, message: unknown): void {
    clearTimeout(worker.clock);
    clearTimeout(worker.slow);
    const parsed = answerSchema.safeParse(message);
    if (!parsed.success) return void worker.child.kill("SIGKILL");
    const { job } = worker;
    if ("ready" in parsed.data) {
      worker.ready = true;
      this.#failedStarts = 0;
    } else if (job) {
      worker.job = undefined;
      job.resolve(parsed.data.is);
    }
    this.#dispatch();
    if (!worker.job) setReferenced(worker, this.#waiting.length > 0);
  }

  #ended(worker: Worker): void {
    if (!this.#workers.delete(worker)) return;
    clearTimeout(worker.clock);
    clearTimeout(worker.slow);
    if (!worker.ready) this.#failedStarts++;
    const { job } = worker;
    if (job && job.attempts < attemptsMax && !this.#isClosed) this.#waiting.unshift(job);
    else
      job?.resolve({ fault: `the symbolic worker died or worked over ${tryMilliseconds} ms, ${job.attempts} times` });
    if (this.#failedStarts > attemptsMax) {
      for (const { resolve } of this.#waiting.splice(0)) resolve({ fault: "the symbolic worker does not start" });
      this.#failedStarts = 0;
    }
    if (!this.#isClosed) this.#dispatch();
  }
}

// Kills a worker whose try is over; one that load kept from working gets the rest of its time.
function endLate(worker: Worker, elapsed: number): void {
  const worked = processorMilliseconds(worker.child.pid);
  const used = worked === undefined || worker.workedBefore === undefined ? elapsed : worked - worker.workedBefore;
  const left = Math.ceil(Math.min(tryMilliseconds - used, tryMillisecondsMax - elapsed));
  if (left <= 0) worker.child.kill("SIGKILL");
  else worker.clock = setTimeout(() => endLate(worker, elapsed + left), left);
}

// An idle worker must not keep the program from ending; one with a question must.
function setReferenced({ child }: Worker, isReferenced: boolean): void {
  if (isReferenced) {
    child.ref();
    child.channel?.ref?.();
  } else {
    child.unref();
    child.channel?.unref?.();
  }
}

// Linux counts it in ticks of 10 ms; the 14th and 15th fields, counted behind the name in brackets.
function processorMilliseconds(pid: number | undefined): number | undefined {
  if (pid === undefined) return undefined;
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)?.split(" ") ?? [];
    const ticks = Number(fields[11]) + Number(fields[12]);
    return Number.isFinite(ticks) ? ticks * 10 : undefined;
  } catch {
    return undefined;
  }
}

// Beside this file: TypeScript in the repository, JavaScript in the npm package.
function workerFile(): string {
  const name = import.meta.url.endsWith(".ts") ? "./symbolic-worker.ts" : "./symbolic-worker.js";
  return fileURLToPath(new URL(name, import.meta.url));
}
