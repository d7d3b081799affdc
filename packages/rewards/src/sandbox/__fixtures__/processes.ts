// What of a sandbox can be seen from outside: its processes, their users, the mounts of its workers.
import { readdirSync, readFileSync, readlinkSync } from "node:fs";

export type HostProcess = {
  readonly pid: number;
  readonly parent: number;
  readonly uid: number;
  readonly name: string;
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
        const field = (key: string) => Number(new RegExp(`^${key}:\\s*(\\d+)`, "m").exec(status)?.[1]);
        return [
          {
            pid: Number(name),
            parent: field("PPid"),
            uid: field("Uid"),
            name: /^Name:\s*(.*)$/m.exec(status)?.[1] ?? "",
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
