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
  attempts: number;
  isCancelled: boolean;
};

export type Supervisor = {
  /** The greeting of the daemon that runs now, or ran last. */
  readonly ready: () => Ready;
  readonly add: (job: Job) => void;
  readonly cancel: (job: Job) => void;
  readonly close: () => Promise<void>;
  readonly processId: () => number | undefined;
};

/** A run is tried again once, on a new daemon. */
const attemptsMax = 2;
const failedStartsMax = 3;
/** Runs handed over a worker: enough that no worker waits for the pipe, few enough that a death costs little. */
const runsAheadPerWorker = 4;
/** A daemon that is silent for longer than so many times its runs' limits, and half a minute, is stuck. */
const silenceFactor = 10;
const silenceMilliseconds = 30_000;

/** Starts the first daemon; later ones start when jobs need them. Throws a SandboxError when it does not start. */
export async function supervise(options: DaemonOptions): Promise<Supervisor> {
  const waiting: Job[] = [];
  const running = new Map<number, Job>();
  let daemon: Daemon | undefined = await start();
  let ready = daemon.ready;
  let starting: Promise<void> | undefined;
  let closing: Promise<void> | undefined;
  let failedStarts = 0;
  let isPipeFull = false;
  let silence: ReturnType<typeof setTimeout> | undefined;
  daemon.setReferenced(false);

  function start(): Promise<Daemon> {
    return startDaemon(options, {
      onResult,
      onEnd,
      onDrain: () => {
        isPipeFull = false;
        pump();
      },
    });
  }

  async function restart(): Promise<void> {
    try {
      const started = await start();
      isPipeFull = false;
      daemon = started;
      ready = started.ready;
    } catch (error) {
      failedStarts++;
      if (failedStarts < failedStartsMax) return;
      failedStarts = 0;
      const reason = error instanceof Error ? error.message : String(error);
      for (const job of waiting.splice(0)) job.onFault(`the daemon does not start again: ${reason}`);
    } finally {
      starting = undefined;
      pump();
    }
  }

  function pump(): void {
    if (closing !== undefined) return;
    if (daemon === undefined) {
      if (waiting.length > 0) starting ??= restart();
      return;
    }
    while (!isPipeFull && running.size < ready.workers * runsAheadPerWorker) {
      const job = waiting.shift();
      if (job === undefined) break;
      hand(daemon, job);
    }
    daemon.setReferenced(running.size > 0);
    watch();
  }

  function hand(to: Daemon, job: Job): void {
    let frame: Uint8Array[];
    try {
      frame = job.frame();
    } catch (error) {
      return void job.onFault(`the run cannot be sent: ${error instanceof Error ? error.message : String(error)}`);
    }
    job.attempts++;
    running.set(job.id, job);
    isPipeFull = !to.send(frame);
  }

  /** Sets the clock that ends a daemon which says nothing while it has runs. */
  function watch(): void {
    clearTimeout(silence);
    if (running.size === 0) return;
    const longest = Math.max(...[...running.values()].map(({ millisecondsMax }) => millisecondsMax));
    silence = setTimeout(() => daemon?.kill("it was stuck"), silenceMilliseconds + silenceFactor * longest);
    silence.unref?.();
  }

  function onResult(header: ResultHeader, blobs: readonly Uint8Array[]): void {
    const job = running.get(header.id);
    if (job === undefined) return void daemon?.kill(`it answered run ${header.id}, which it does not have`);
    running.delete(header.id);
    failedStarts = 0;
    if (job.isCancelled) job.onCancelled();
    else job.onResult(header, blobs);
    pump();
  }

  function onEnd(reason: string): void {
    daemon = undefined;
    clearTimeout(silence);
    const again: Job[] = [];
    for (const job of running.values()) {
      if (job.isCancelled) job.onCancelled();
      else if (job.attempts < attemptsMax) again.push(job);
      else job.onFault(`the daemon died under it ${job.attempts} times; the last time ${reason}`);
    }
    running.clear();
    waiting.unshift(...again);
    pump();
  }

  function add(job: Job): void {
    if (closing !== undefined) return void job.onFault("the sandbox is closed");
    waiting.push(job);
    pump();
  }

  function cancel(job: Job): void {
    job.isCancelled = true;
    const place = waiting.indexOf(job);
    if (place >= 0) {
      waiting.splice(place, 1);
      job.onCancelled();
    } else if (running.has(job.id)) {
      daemon?.send(encodeFrame({ type: "cancel", id: job.id }, []));
    }
  }

  async function close(): Promise<void> {
    clearTimeout(silence);
    const open = [...running.values(), ...waiting.splice(0)];
    running.clear();
    for (const job of open) job.onFault("the sandbox is closed");
    // A daemon that is just starting ends when it has started.
    await starting;
    await daemon?.close();
  }

  return {
    ready: () => ready,
    add,
    cancel,
    close: () => {
      closing ??= close();
      return closing;
    },
    processId: () => daemon?.pid,
  };
}
