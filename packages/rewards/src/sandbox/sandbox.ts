// Runs untrusted programs in gradus-sandboxd and gives how each run ended. It never judges: expected outputs stay with
// the caller, who compares bytes (stdout) or tagged values (answers).
import { availableParallelism } from "node:os";
import { sandboxBinary } from "./binary.ts";
import { DaemonKeeper, type Job } from "./daemon-keeper.ts";
import { encodeFrame } from "./frames.ts";
import {
  type Limits,
  limitNames,
  limitsMax,
  type Program,
  type ResultHeader,
  type Run,
  type Tier,
} from "./protocol.ts";
import { parseAnswers } from "./tagged.ts";

export type Sandbox = {
  /** The tier of the daemon that runs now. */
  readonly tier: Tier;
  /** Runs that go on at once; more may be asked for, they wait. */
  readonly workers: number;
  /**
   * Runs a program. Never rejects: outcome "fault" says that the run failed through us (the daemon died twice under it, the
   * second time with no other run beside it, does not start again, was closed) and is no statement about the program. An
   * aborted `signal` gives "cancelled".
   */
  readonly run: (program: Program, limits?: Partial<Limits>, signal?: AbortSignal) => Promise<Run>;
  /** Ends the daemon and all its children; open runs become faults. */
  readonly close: () => Promise<void>;
  /** The daemon's process id, while one runs. */
  readonly processId: () => number | undefined;
};

export type SandboxOptions = {
  /** Runs at once; default one a core. */
  readonly workers?: number;
  /** The interpreter; default python3, as the daemon finds it. */
  readonly python?: string;
  readonly binary?: string;
  /** Demands a tier; default the best that holds. */
  readonly tier?: Tier;
  /** The cgroup below which the daemon makes its own, as /proc/self/cgroup writes it; default the one it is started in. */
  readonly cgroup?: string;
};

/** Limits where a run names none: LiveCodeBench's 6 s, and 2 · cpu + 1 s of waiting. */
export const defaultLimits: Limits = {
  cpuMs: 6000,
  wallMs: 13_000,
  memoryMiB: 4096,
  outputBytes: 8 * 1024 * 1024,
  fileMiB: 64,
  processes: 64,
};

/** Starts a sandbox. Throws a SandboxError (code, reason, remedy) when it refuses or cannot be started. */
export async function startSandbox(options: SandboxOptions = {}): Promise<Sandbox> {
  const keeper = await DaemonKeeper.start({
    workers: availableParallelism(),
    ...options,
    binary: options.binary ?? sandboxBinary(),
  });
  let nextId = 1;
  return {
    get tier() {
      return keeper.ready.tier;
    },
    get workers() {
      return keeper.ready.workers;
    },
    run: (program, limits = {}, signal) =>
      new Promise((resolve) => {
        const whole = { ...defaultLimits, ...limits };
        start(keeper, { id: nextId++, program, limits: whole, signal, resolve });
      }),
    close: () => keeper.close(),
    processId: () => keeper.processId,
  };
}

type Request = {
  readonly id: number;
  readonly program: Program;
  readonly limits: Limits;
  readonly signal: AbortSignal | undefined;
  readonly resolve: (run: Run) => void;
};

function start(keeper: DaemonKeeper, { id, program, limits, signal, resolve }: Request): void {
  const end = (run: Omit<Run, "tier">) => {
    signal?.removeEventListener("abort", onAbort);
    resolve({ ...run, tier: keeper.ready.tier });
  };
  const job: Job = {
    id,
    frame: () => runFrame(id, program, limits),
    millisecondsMax: limits.cpuMs + limits.wallMs,
    onResult: (header, blobs) => end(runOf(header, blobs, program)),
    onFault: (reason) => end({ ...nothing, outcome: "fault", reason }),
    onCancelled: () => end({ ...nothing, outcome: "cancelled" }),
    isSuspect: false,
    isCancelled: false,
  };
  const onAbort = () => keeper.cancel(job);
  if (signal?.aborted) return void job.onCancelled();
  signal?.addEventListener("abort", onAbort);
  keeper.add(job);
}

/** A run that has not run. */
const nothing = {
  exitCode: null,
  signal: null,
  cpuMs: 0,
  wallMs: 0,
  memoryPeakMiB: 0,
  stdout: new Uint8Array(0),
  stderr: "",
  answers: [],
} as const;

const encoder = new TextEncoder();

function runFrame(id: number, program: Program, limits: Limits): Uint8Array[] {
  checkLimits(limits);
  const code = encoder.encode(program.code);
  if (program.mode === "stdin") {
    const stdin = typeof program.stdin === "string" ? encoder.encode(program.stdin) : program.stdin;
    return encodeFrame({ type: "run", id, mode: "stdin", limits }, [code, stdin]);
  }
  const calls = program.calls.map((values) => `${JSON.stringify(values)}\n`).join("");
  if (!program.entry.isWellFormed()) throw new Error("the name of the function is no Unicode text");
  return encodeFrame({ type: "run", id, mode: "calls", entry: program.entry, limits }, [code, encoder.encode(calls)]);
}

// What the daemon does not take would end it, and with it the runs of others.
function checkLimits(limits: Limits): void {
  for (const name of limitNames) {
    const [value, most] = [limits[name], limitsMax[name]];
    if (!Number.isSafeInteger(value) || value <= 0 || value > most) {
      throw new Error(`limit ${name} is ${value}; expected a whole number from 1 to ${most}`);
    }
  }
}

function runOf(header: ResultHeader, blobs: readonly Uint8Array[], program: Program): Omit<Run, "tier"> {
  const { outcome, exitCode, signal, cpuMs, wallMs, memoryPeakMiB, reason } = header;
  const [stdout, stderr, answers] = blobs;
  return {
    outcome,
    exitCode,
    signal,
    cpuMs,
    wallMs,
    memoryPeakMiB,
    stdout: stdout ?? nothing.stdout,
    stderr: new TextDecoder().decode(stderr),
    answers: program.mode === "calls" ? parseAnswers(answers ?? nothing.stdout, program.calls.length) : [],
    ...(reason ? { reason } : {}),
  };
}
