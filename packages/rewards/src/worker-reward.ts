// A custom reward in worker threads: it never blocks the event loop, and one that does not end is ended at its limit.
import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import { lateReason, type Reward, type RewardRollout } from "./reward.ts";
import { RewardError } from "./reward-error.ts";
import { type RewardPlace, type RewardReply, rewardReplySchema } from "./reward-protocol.ts";
import { fault, type Verdict } from "./verdict.ts";

type Job = {
  readonly rollout: RewardRollout;
  readonly resolve: (verdict: Verdict) => void;
  attempts: number;
  /** Runs from the moment at which the function is called. */
  clock?: ReturnType<typeof setTimeout> | undefined;
};

type Thread = {
  readonly worker: Worker;
  readonly jobs: Map<number, Job>;
  /** The request whose function has the thread now and has not given it back. */
  calling: number | undefined;
};

const workerFile = new URL("./reward-worker.ts", import.meta.url);
/** A module may load slowly, with whatever it imports. */
const loadSeconds = 30;
/** A job whose thread ended through no fault of its own is run again, so often at most. */
const attemptsMax = 3;

/**
 * The function `place.exportName` of `place.file` as a reward, in a thread a core. Calls that wait (for a server) share a
 * thread. A call that takes over `limitSeconds` is a fault: its thread is ended, since it may never give it back, and
 * the other calls there are made again; so the function must not keep state between calls.
 * `name` stands in messages.
 */
export function workerReward(
  name: string,
  place: RewardPlace,
  { limitSeconds, threadsMax = availableParallelism() }: { limitSeconds: number; threadsMax?: number },
): Reward & Required<Pick<Reward, "start" | "close">> {
  const threads = new RewardThreads(name, place, limitSeconds, threadsMax);
  const reward = (rollout: RewardRollout) =>
    new Promise<Verdict>((resolve) => threads.give({ rollout, resolve, attempts: 0 }));
  const [start, close] = [() => threads.start(), () => threads.close()];
  return Object.assign(reward, { start, close, limitSeconds: Number.POSITIVE_INFINITY });
}

/** The threads of one reward, and the calls in each. */
class RewardThreads {
  readonly #name: string;
  readonly #place: RewardPlace;
  readonly #limitSeconds: number;
  readonly #threadsMax: number;
  readonly #threads = new Set<Thread>();
  #nextId = 0;

  constructor(name: string, place: RewardPlace, limitSeconds: number, threadsMax: number) {
    this.#name = name;
    this.#place = place;
    this.#limitSeconds = limitSeconds;
    this.#threadsMax = threadsMax;
  }

  give(job: Job): void {
    const free = [...this.#threads].toSorted((a, b) => a.jobs.size - b.jobs.size)[0];
    const isFull = free === undefined || (free.jobs.size > 0 && this.#threads.size < this.#threadsMax);
    const thread = isFull ? this.#open() : free;
    const id = this.#nextId++;
    job.attempts++;
    // An idle thread must not keep the program from ending; one with a rollout must. Bun counts refs, so one is enough.
    if (thread.jobs.size === 0) thread.worker.ref();
    thread.jobs.set(id, job);
    thread.worker.postMessage({ id, rollout: job.rollout });
  }

  /** Loads the function once, so that what is wrong with it is said before the first step. */
  async start(): Promise<void> {
    if (this.#threads.size > 0) return;
    const { worker } = this.#open();
    const loaded = Promise.withResolvers<RewardReply | undefined>();
    worker.ref();
    worker.on("message", (message) => loaded.resolve(rewardReplySchema.parse(message)));
    worker.on("error", (error) => loaded.resolve({ is: "failed", reason: messageOf(error) }));
    worker.on("exit", () => loaded.resolve({ is: "failed", reason: "it ended its own thread while it was loaded" }));
    const clock = setTimeout(() => loaded.resolve(undefined), 1000 * loadSeconds);
    const reply = await loaded.promise;
    clearTimeout(clock);
    worker.unref();
    if (reply?.is === "ready") return;
    await this.close();
    const reason = reply?.is === "failed" ? reply.reason : `${this.#place.file} takes over ${loadSeconds} s to load`;
    throw new RewardError(`reward "${this.#name}": ${reason}`);
  }

  async close(): Promise<void> {
    const open = [...this.#threads];
    this.#threads.clear();
    for (const { jobs } of open) {
      for (const job of jobs.values()) {
        clearTimeout(job.clock);
        job.resolve(fault(`${this.#name}: the reward is closed`));
      }
      jobs.clear();
    }
    await Promise.all(open.map(({ worker }) => worker.terminate()));
  }

  #open(): Thread {
    const worker = new Worker(workerFile, { workerData: this.#place });
    const thread: Thread = { worker, jobs: new Map(), calling: undefined };
    this.#threads.add(thread);
    worker.on("message", (message) => this.#answered(thread, rewardReplySchema.parse(message)));
    // What a reward throws outside its call (in a timer, say) ends its thread.
    worker.on("error", (error) => this.#end(thread, `the reward's thread died: ${messageOf(error)}`));
    worker.on("exit", () => this.#end(thread, "the reward's thread ended by itself"));
    worker.unref();
    return thread;
  }

  #answered(thread: Thread, reply: RewardReply): void {
    if (reply.is === "ready") return;
    if (reply.is === "failed") {
      this.#end(thread, reply.reason);
      return;
    }
    const job = thread.jobs.get(reply.id);
    if (job === undefined) return;
    if (reply.is === "called") {
      thread.calling = reply.id;
      this.#startClock(thread, reply.id, job);
      return;
    }
    if (thread.calling === reply.id) thread.calling = undefined;
    if (reply.is === "verdict") settle(thread, reply.id, reply.verdict);
  }

  #startClock(thread: Thread, id: number, job: Job): void {
    job.clock = setTimeout(() => {
      // Another call has the thread: that one's clock decides, and this one gets its time again.
      if (thread.calling !== undefined && thread.calling !== id) return this.#startClock(thread, id, job);
      settle(thread, id, fault(`${this.#name}: ${lateReason(this.#limitSeconds)}`));
      this.#end(thread, "");
    }, 1000 * this.#limitSeconds);
  }

  /** Ends a thread. The call that had it then is at fault; the others are made again elsewhere. */
  #end(thread: Thread, reason: string): void {
    if (!this.#threads.delete(thread)) return;
    void thread.worker.terminate();
    for (const [id, job] of thread.jobs) {
      clearTimeout(job.clock);
      if (id !== thread.calling && job.attempts < attemptsMax) this.give(job);
      else job.resolve(fault(`${this.#name}: ${reason || "the reward's thread was ended with another call"}`));
    }
    thread.jobs.clear();
  }
}

function settle(thread: Thread, id: number, verdict: Verdict): void {
  const job = thread.jobs.get(id);
  if (job === undefined) return;
  thread.jobs.delete(id);
  clearTimeout(job.clock);
  if (thread.jobs.size === 0) thread.worker.unref();
  job.resolve(verdict);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
