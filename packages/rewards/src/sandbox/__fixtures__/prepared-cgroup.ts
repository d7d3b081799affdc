// A cgroup that root makes and hands to a plain user, so that the user's daemon reaches tier A.
import { chownSync, existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

export type PreparedCgroup = {
  /** As /proc/self/cgroup writes it. */
  readonly path: string;
  /** Where the daemon is put before it becomes the user: version 2 lets a user move processes within its own group alone. */
  readonly joinFiles: readonly string[];
  readonly remove: () => void;
};

/** Makes the group at the root of every hierarchy that counts memory, processes and processor time. Needs root. */
export function prepareCgroup(uid: number): PreparedCgroup {
  const name = `gradus-attacks-${process.pid}`;
  const mounts = mountsOf(["memory", "pids", "cpuacct"]);
  const folders = mounts.map((mount) => join(mount, name));
  for (const folder of folders) giveTo(uid, folder);
  const joinFiles: string[] = [];
  for (const [index, folder] of folders.entries()) {
    if (!existsSync(join(folder, "cgroup.controllers"))) continue;
    writeFileSync(join(mounts[index] ?? "", "cgroup.subtree_control"), "+memory +pids");
    giveTo(uid, join(folder, "daemon"));
    joinFiles.push(join(folder, "daemon", "cgroup.procs"));
  }
  return { path: `/${name}`, joinFiles, remove: () => folders.forEach(removeGroup) };
}

/** Makes a group whose files are the user's. */
function giveTo(uid: number, folder: string): void {
  mkdirSync(folder);
  for (const place of [folder, ...readdirSync(folder).map((file) => join(folder, file))]) chownSync(place, uid, uid);
}

/** Where the controllers' hierarchies are mounted; that of version 2 where version 1 has none of them. */
function mountsOf(controllers: readonly string[]): string[] {
  const lines = readFileSync("/proc/self/mounts", "utf8").trim().split("\n");
  const mounts = lines.map((line) => line.split(" ")).map(([, at = "", kind, options = ""]) => ({ at, kind, options }));
  const has = (controller: string) => (options: string) => options.split(",").includes(controller);
  const first = controllers.flatMap(
    (controller) => mounts.find(({ kind, options }) => kind === "cgroup" && has(controller)(options))?.at ?? [],
  );
  if (first.length > 0) return [...new Set(first)];
  return mounts
    .filter(({ kind }) => kind === "cgroup2")
    .map(({ at }) => at)
    .slice(0, 1);
}

function removeGroup(folder: string): void {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (entry.isDirectory()) removeGroup(join(folder, entry.name));
  }
  rmdirSync(folder);
}
