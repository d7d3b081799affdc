// One gradus-sandboxd process: its start, its frames, its end. What to do when it dies is decided in sandbox.ts.
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { type Frame, frameReader } from "./frames.ts";
import { greetingSchema, type Ready, type ResultHeader, resultSchema, type Tier } from "./protocol.ts";
import { SandboxError } from "./sandbox-error.ts";

export type DaemonOptions = {
  readonly binary: string;
  readonly workers?: number | undefined;
  readonly python?: string | undefined;
  readonly tier?: Tier | undefined;
  readonly cgroup?: string | undefined;
};

export type DaemonEvents = {
  readonly onResult: (header: ResultHeader, blobs: readonly Uint8Array[]) => void;
  /** Called once, after `ready`: the process is gone or is being killed, and why. */
  readonly onEnd: (reason: string) => void;
  /** The daemon takes bytes again after `send` gave false. */
  readonly onDrain: () => void;
};

export type Daemon = {
  readonly ready: Ready;
  readonly pid: number;
  /** Hands chunks to the pipe; false when it is full, and `onDrain` tells when more may come. */
  readonly send: (chunks: readonly Uint8Array[]) => boolean;
  /** Whether the program stays alive for this daemon's sake. */
  readonly setReferenced: (isReferenced: boolean) => void;
  /** Ends it for `reason`, which `onEnd` gets. */
  readonly kill: (reason: string) => void;
  /** Closes its stdin and waits for its end; kills it when it takes longer than a moment. */
  readonly close: () => Promise<void>;
};

/** A probe forks an interpreter and tries every wall; a loaded machine takes seconds for it. */
const startMillisecondsMax = 60_000;
const closeMillisecondsMax = 5_000;
const stderrBytesKept = 4096;

/** The daemon's command line after its name. */
export function daemonArguments({ workers, python, tier, cgroup }: Omit<DaemonOptions, "binary">): string[] {
  return [
    ...(workers === undefined ? [] : ["--workers", String(workers)]),
    ...(python === undefined ? [] : ["--python", python]),
    ...(tier === undefined ? [] : ["--tier", tier]),
    ...(cgroup === undefined ? [] : ["--cgroup", cgroup]),
  ];
}

/** Starts the daemon and waits for its greeting. Throws a SandboxError when it refuses, fails or is missing. */
export function startDaemon(options: DaemonOptions, events: DaemonEvents): Promise<Daemon> {
  return new Promise((resolve, reject) => {
    // A session of its own: an interrupt typed at the terminal ends the run in good order, not the daemon under it.
    const child = spawn(options.binary, daemonArguments(options), { detached: true, env: daemonEnvironment() });
    let said = "";
    let daemon: Daemon | undefined;
    let ended: string | undefined;
    const clock = setTimeout(() => end(`it gave no greeting in ${startMillisecondsMax} ms`), startMillisecondsMax);

    /** The first reason wins; the process is killed whatever it is. */
    function end(reason: string, error?: SandboxError): void {
      if (ended !== undefined) return;
      ended = reason;
      clearTimeout(clock);
      child.kill("SIGKILL");
      if (daemon !== undefined) return void events.onEnd(reason);
      const why = said.trim() === "" ? reason : `${reason}: ${said.trim()}`;
      reject(error ?? new SandboxError("sandbox-failed", `${options.binary}: ${why}`, "run `bun run doctor`"));
    }

    function take(frame: Frame): void {
      if (daemon !== undefined) {
        const result = resultSchema.safeParse(frame.header);
        if (!result.success || frame.blobs.length !== 3) return void end("it sent a frame that is no result");
        return void events.onResult(result.data, frame.blobs);
      }
      const greeting = greetingSchema.safeParse(frame.header);
      if (!greeting.success) return void end("its greeting is not protocol 1; build it anew: bun run setup");
      if (greeting.data.type === "refused") {
        const { reason, remedy } = greeting.data;
        return void end(reason, new SandboxError("sandbox-refused", reason, remedy));
      }
      clearTimeout(clock);
      daemon = handle(child, greeting.data, end);
      resolve(daemon);
    }

    const read = frameReader();
    child.stdout.on("data", (chunk: Uint8Array) => {
      if (ended !== undefined) return;
      try {
        for (const frame of read(chunk)) if (ended === undefined) take(frame);
      } catch (error) {
        end(error instanceof Error ? error.message : String(error));
      }
    });
    child.stderr.on("data", (chunk: Uint8Array) => {
      said = (said + new TextDecoder().decode(chunk)).slice(-stderrBytesKept);
    });
    child.stdin.on("drain", events.onDrain);
    // A daemon that died cannot be written to; its exit says so.
    child.stdin.on("error", () => undefined);
    child.on("error", (error) => end(error.message));
    // `close` comes after the last byte of its pipes, so results sent just before its death still count.
    child.on("close", (code, signal) => end(`it ended with ${signal ?? `code ${code}`}`));
  });
}

function handle(child: ChildProcessWithoutNullStreams, ready: Ready, end: (reason: string) => void): Daemon {
  let isReferencedNow = true;
  return {
    ready,
    pid: child.pid ?? 0,
    send: (chunks) => {
      child.stdin.cork();
      const isTaken = chunks.map((chunk) => child.stdin.write(chunk)).at(-1) ?? true;
      child.stdin.uncork();
      return isTaken;
    },
    setReferenced: (isReferenced) => {
      // Bun counts: a second ref would need a second unref.
      if (isReferenced === isReferencedNow) return;
      isReferencedNow = isReferenced;
      const name = isReferenced ? "ref" : "unref";
      child[name]();
      for (const stream of [child.stdin, child.stdout, child.stderr]) {
        // Node's types do not say that pipes have these, and Bun's stdin has not.
        const change: unknown = Reflect.get(stream, name);
        if (typeof change === "function") change.call(stream);
      }
    },
    kill: end,
    close: () =>
      new Promise((resolve) => {
        if (child.exitCode !== null || child.signalCode !== null) return resolve();
        const clock = setTimeout(() => child.kill("SIGKILL"), closeMillisecondsMax);
        child.once("exit", () => {
          clearTimeout(clock);
          resolve();
        });
        child.ref();
        child.stdin.end();
      }),
  };
}

/** What finding an interpreter needs; keys and tokens of the trainer stay out of the daemon's memory altogether. */
export function daemonEnvironment(): Record<string, string> {
  const kept = ["PATH", "HOME", "PYENV_ROOT", "PYENV_VERSION"];
  return Object.fromEntries(
    kept.flatMap((name) => {
      const value = process.env[name];
      return value === undefined ? [] : [[name, value]];
    }),
  );
}
