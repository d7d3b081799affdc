// What of a sandbox can be seen from outside: its processes, their users, the mounts of its workers.
import { closeSync, openSync, readdirSync, readFileSync, readlinkSync } from "node:fs";

export type HostProcess = {
  readonly pid: number;
  readonly parent: number;
  readonly uid: number;
  readonly name: string;
  /** When it began, in the kernel's ticks: with the pid, which is given away again, it names one process. */
  readonly startedAt: string;
  /** Whether all its threads have ended, so that it waits for its parent alone. */
  readonly hasEnded: boolean;
  /** Undefined where they may not be read. */
  readonly mountNamespace: string | undefined;
  readonly pidNamespace: string | undefined;
};

/** Every process of the machine that could be read, zombies among them. */
export function hostProcesses(): HostProcess[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        const status = readFileSync(`/proc/${name}/status`, "utf8");
        const stat = readFileSync(`/proc/${name}/stat`, "utf8");
        const field = (key: string) => Number(new RegExp(`^${key}:\\s*(\\d+)`, "m").exec(status)?.[1]);
        return [
          {
            pid: Number(name),
            parent: field("PPid"),
            uid: field("Uid"),
            name: /^Name:\s*(.*)$/m.exec(status)?.[1] ?? "",
            // The name, in brackets, may hold anything; after it come the fields from the third on.
            startedAt: stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? "",
            hasEnded: /^State:\s*[ZX]/m.test(status) && field("Threads") <= 1,
            mountNamespace: namespaceOf(name, "mnt"),
            pidNamespace: namespaceOf(name, "pid"),
          },
        ];
      } catch {
        // It has ended since the list was made.
        return [];
      }
    });
}

/** Whether a process has not ended; one that waits to be reaped has. */
export function isAlive(pid: number): boolean {
  try {
    return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    // It is gone, perhaps since it was looked for.
    return false;
  }
}

function namespaceOf(pid: string, kind: string): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/${kind}`);
  } catch {
    return undefined;
  }
}

/** A daemon's descendants, and whoever shares a mount namespace with one of them: orphans keep that. */
export function sandboxProcesses(daemon: number): HostProcess[] {
  const all = hostProcesses();
  const own = all.find(({ pid }) => pid === process.pid)?.mountNamespace;
  const family = new Set([daemon]);
  for (let size = 0; size !== family.size; ) {
    size = family.size;
    for (const { pid, parent } of all) if (family.has(parent)) family.add(pid);
  }
  const namespaces = new Set(all.filter(({ pid }) => family.has(pid)).map(({ mountNamespace }) => mountNamespace));
  namespaces.delete(own);
  namespaces.delete(undefined);
  return all.filter(({ pid, mountNamespace }) => family.has(pid) || namespaces.has(mountNamespace));
}

/** A daemon's processes and mount namespaces, taken while it lives: once it is gone, nothing says whose an orphan is. */
export type Family = {
  /** Those of the processes that still live, and whoever lives in one of the namespaces. */
  readonly left: () => readonly string[];
  readonly release: () => void;
};

/** Takes them. Throws where the daemon is gone already, since nothing would then be found, whatever is left. */
export function familyOf(daemon: number): Family {
  const members = sandboxProcesses(daemon).filter(({ hasEnded }) => !hasEnded);
  if (!members.some(({ pid }) => pid === daemon)) throw new Error(`there is no daemon ${daemon} whose family to take`);
  const identity = ({ pid, startedAt }: HostProcess) => `${pid} ${startedAt}`;
  const identities = new Set(members.map(identity));
  // One that is held open keeps its number, which the kernel would give to the next one.
  const held = members.flatMap(openMountNamespace);
  const namespaces = new Set<string | undefined>(held.map((file) => readlinkSync(`/proc/self/fd/${file}`)));
  namespaces.delete(namespaceOf("self", "mnt"));
  return {
    left: () =>
      hostProcesses()
        .filter((one) => !one.hasEnded && (identities.has(identity(one)) || namespaces.has(one.mountNamespace)))
        .map(({ pid, name }) => `${pid} ${name}`),
    release: () => held.forEach(closeFile),
  };
}

function closeFile(file: number): void {
  closeSync(file);
}

function openMountNamespace({ pid }: HostProcess): number[] {
  try {
    return [openSync(`/proc/${pid}/ns/mnt`, "r")];
  } catch {
    // The process has ended meanwhile, or may not be asked.
    return [];
  }
}

const looksUntilTold = 400;

/** Waits until nothing is left. What stays is told once, for a test that then runs into its timeout. */
export async function untilNoneIsLeft(whose: string, left: () => readonly string[]): Promise<void> {
  for (let looks = 1; ; looks++) {
    const names = left();
    if (names.length === 0) return;
    if (looks === looksUntilTold) console.log(`${whose}: still left: ${names.join(", ")}`);
    await Bun.sleep(5);
  }
}

/** The mounts in each of the processes' mount namespaces, a line each, sorted. */
export function mountsOf(processes: readonly HostProcess[]): string[] {
  const seen = new Set<string>();
  return processes
    .flatMap(({ pid, mountNamespace = "" }) => {
      if (seen.has(mountNamespace)) return [];
      seen.add(mountNamespace);
      try {
        const lines = readFileSync(`/proc/${pid}/mountinfo`, "utf8").trim().split("\n");
        return lines.map((line) => `${mountNamespace} ${line.split(" ")[4]}`);
      } catch {
        return [];
      }
    })
    .sort();
}

/** The cgroups of a daemon, which names them by its process id. */
export function cgroupsOf(daemon: number, folder = "/sys/fs/cgroup", depth = 5): string[] {
  if (depth === 0) return [];
  return foldersIn(folder).flatMap((name) => {
    const path = `${folder}/${name}`;
    return name === `gradus-${daemon}` ? [path] : cgroupsOf(daemon, path, depth - 1);
  });
}

/** Names of the folders in a folder; none where it is not there, or is removed while it is read, as other daemons' cgroups are. */
function foldersIn(folder: string): string[] {
  try {
    const entries = readdirSync(folder, { withFileTypes: true });
    return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return [];
    throw error;
  }
}
