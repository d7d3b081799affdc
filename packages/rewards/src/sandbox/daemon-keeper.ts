// Keeps one daemon alive and fed: a queue of jobs, a bounded number of them handed over, a new daemon when one dies.
import { type Daemon, type DaemonOptions, startDaemon } from "./daemon.ts";
import { encodeFrame } from "./frames.ts";
import type { Ready, ResultHeader } from "./protocol.ts";

/** One run on its way. Exactly one of its three ends is called, once. */
export type Job = {
  readonly id: number;
  /** Made when the job is handed over, so that waiting jobs hold no copies. May throw: then the job is a fault. */
  readonly frame: () => Uint8Array[];
  /** The longest that the run may take on a machine of its own, in milliseconds. */
  readonly millisecondsMax: number;
  readonly onResult: (header: ResultHeader, blobs: readonly Uint8Array[]) => void;
  readonly onFault: (reason: string) => void;
  readonly onCancelled: () => void;
  /** Whether a daemon died while it had this run; it is then tried once more, with no other run beside it. */
  isSuspect: boolean;
  isCancelled: boolean;
};

const failedStartsMax = 3;
/** Runs handed over a worker: enough that no worker waits for the pipe, few enough that a death costs little. */
const runsAheadPerWorker = 4;
/** A daemon that is silent for longer than so many times its runs' limits, and half a minute, is stuck. */
const silenceFactor = 10;
const silenceMilliseconds = 30_000;
/** A timer that is set to more goes off at once. */
const timerMillisecondsMax = 2 ** 31 - 1;

/** The daemon of a sandbox, whichever one it is at the moment, and the jobs before it. */
export class DaemonKeeper {
  readonly #options: DaemonOptions;
  /** Suspects first. */
  readonly #waiting: Job[] = [];
  readonly #running = new Map<number, Job>();
  #daemon: Daemon | undefined;
  #ready: Ready | undefined;
  #starting: Promise<void> | undefined;
  #closing: Promise<void> | undefined;
  #failedStarts = 0;
  #isPipeFull = false;
  #silence: ReturnType<typeof setTimeout> | undefined;
  /** When the daemon last said something, or got its first run after a rest; milliseconds. */
  #heardAt = 0;

  private constructor(options: DaemonOptions) {
    this.#options = options;
  }

  /** Starts the first daemon; later ones start when jobs need them. Throws a SandboxError when it does not start. */
  static async start(options: DaemonOptions): Promise<DaemonKeeper> {
    const keeper = new DaemonKeeper(options);
    await keeper.#startDaemon();
    keeper.#daemon?.setReferenced(false);
    return keeper;
  }

  /** The greeting of the daemon that runs now, or ran last. */
  get ready(): Ready {
    if (this.#ready === undefined) throw new Error("a keeper is given out once its first daemon has greeted");
    return this.#ready;
  }

  get processId(): number | undefined {
    return this.#daemon?.pid;
  }

  add(job: Job): void {
    if (this.#closing !== undefined) return void job.onFault("the sandbox is closed");
    this.#waiting.push(job);
    this.#pump();
  }

  cancel(job: Job): void {
    job.isCancelled = true;
    const place = this.#waiting.indexOf(job);
    if (place >= 0) {
      this.#waiting.splice(place, 1);
      job.onCancelled();
    } else if (this.#running.has(job.id)) {
      this.#daemon?.send(encodeFrame({ type: "cancel", id: job.id }, []));
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #startDaemon(): Promise<void> {
    this.#daemon = await startDaemon(this.#options, {
      onResult: (header, blobs) => this.#onResult(header, blobs),
      onEnd: (reason) => this.#onEnd(reason),
      onDrain: () => {
        this.#isPipeFull = false;
        this.#pump();
      },
    });
    this.#isPipeFull = false;
    this.#ready = this.#daemon.ready;
  }

  async #restart(): Promise<void> {
    try {
      await this.#startDaemon();
    } catch (error) {
      this.#failedStarts++;
      if (this.#failedStarts < failedStartsMax) return;
      this.#failedStarts = 0;
      const reason = error instanceof Error ? error.message : String(error);
      for (const job of this.#waiting.splice(0)) job.onFault(`the daemon does not start again: ${reason}`);
    } finally {
      this.#starting = undefined;
      this.#pump();
    }
  }

  #pump(): void {
    if (this.#closing !== undefined) return;
    const daemon = this.#daemon;
    if (daemon === undefined) {
      if (this.#waiting.length > 0) this.#starting ??= this.#restart();
      return;
    }
    while (!this.#isPipeFull && this.#running.size < this.#runsMax()) {
      const job = this.#waiting.shift();
      if (job === undefined) break;
      this.#hand(daemon, job);
    }
    daemon.setReferenced(this.#running.size > 0);
    this.#watch();
  }

  // A suspect runs alone, so that the daemon's next death is the fault of that run and takes no other along.
  #runsMax(): number {
    const isAnySuspect = [...this.#waiting.slice(0, 1), ...this.#running.values()].some(({ isSuspect }) => isSuspect);
    return isAnySuspect ? 1 : this.ready.workers * runsAheadPerWorker;
  }

  #hand(to: Daemon, job: Job): void {
    let frame: Uint8Array[];
    try {
      frame = job.frame();
    } catch (error) {
      return void job.onFault(`the run cannot be sent: ${error instanceof Error ? error.message : String(error)}`);
    }
    if (this.#running.size === 0) this.#heardAt = performance.now();
    this.#running.set(job.id, job);
    this.#isPipeFull = !to.send(frame);
  }

  /** Sets the clock that ends a daemon which says nothing while it has runs. */
  #watch(): void {
    clearTimeout(this.#silence);
    if (this.#running.size === 0) return;
    const longest = Math.max(...[...this.#running.values()].map(({ millisecondsMax }) => millisecondsMax));
    // Counted from what was heard last: further runs that are handed over make a stuck daemon no younger.
    const end = this.#heardAt + silenceMilliseconds + silenceFactor * longest;
    const milliseconds = Math.min(timerMillisecondsMax, Math.max(0, end - performance.now()));
    this.#silence = setTimeout(() => this.#daemon?.kill("it was stuck"), milliseconds);
    this.#silence.unref?.();
  }

  #onResult(header: ResultHeader, blobs: readonly Uint8Array[]): void {
    const job = this.#running.get(header.id);
    if (job === undefined) return void this.#daemon?.kill(`it answered run ${header.id}, which it does not have`);
    this.#running.delete(header.id);
    this.#failedStarts = 0;
    this.#heardAt = performance.now();
    if (job.isCancelled) job.onCancelled();
    else job.onResult(header, blobs);
    this.#pump();
  }

  #onEnd(reason: string): void {
    this.#daemon = undefined;
    clearTimeout(this.#silence);
    const again: Job[] = [];
    for (const job of this.#running.values()) {
      if (job.isCancelled) job.onCancelled();
      else if (job.isSuspect)
        job.onFault(`the daemon died under it twice, the second time with no other run beside it: ${reason}`);
      else again.push(job);
      job.isSuspect = true;
    }
    this.#running.clear();
    this.#waiting.unshift(...again);
    this.#pump();
  }

  async #close(): Promise<void> {
    clearTimeout(this.#silence);
    const open = [...this.#running.values(), ...this.#waiting.splice(0)];
    this.#running.clear();
    for (const job of open) job.onFault("the sandbox is closed");
    // A daemon that is just starting ends when it has started.
    await this.#starting;
    await this.#daemon?.close();
  }
}
