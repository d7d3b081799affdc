// A cgroup that root makes and hands to a plain user, so that the user's daemon reaches tier A.
import { randomBytes } from "node:crypto";
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
  // Not the process id alone: a run that was killed may have left the group of another one that had it.
  const name = `gradus-attacks-${process.pid}-${randomBytes(4).toString("hex")}`;
  const mounts = mountsOf(["memory", "pids", "cpuacct"]);
  if (mounts.length === 0) throw new CgroupError("no cgroup is mounted");
  const folders = mounts.map((mount) => join(mount, name));
  const remove = () => folders.filter((folder) => existsSync(folder)).forEach(removeGroup);
  try {
    for (const folder of folders) giveTo(uid, folder);
    return { path: `/${name}`, joinFiles: mounts.flatMap((mount) => prepareJoining(uid, mount, name)), remove };
  } catch (error) {
    remove();
    // What the file systems answer; anything else is a slip in here.
    if (error instanceof Error && "code" in error) throw new CgroupError(error.message, { cause: error });
    throw error;
  }
}

/** Why no group can be prepared, undefined where one can: as in a container, whose groups may be read-only or in use. */
export function whyNoCgroup(uid: number): string | undefined {
  try {
    prepareCgroup(uid).remove();
    return undefined;
  } catch (error) {
    if (error instanceof CgroupError) return error.message;
    throw error;
  }
}

class CgroupError extends Error {
  override readonly name = "CgroupError";
}

/** In version 2 a group with processes gives its children no controllers, so the daemon joins a group beside theirs. */
function prepareJoining(uid: number, mount: string, name: string): string[] {
  const folder = join(mount, name);
  if (!existsSync(join(folder, "cgroup.controllers"))) return [];
  writeFileSync(join(mount, "cgroup.subtree_control"), "+memory +pids");
  giveTo(uid, join(folder, "daemon"));
  return [join(folder, "daemon", "cgroup.procs")];
}

/** Makes a group whose files are the user's. */
function giveTo(uid: number, folder: string): void {
  mkdirSync(folder);
  for (const place of [folder, ...readdirSync(folder).map((file) => join(folder, file))]) chownSync(place, uid, uid);
}

/** Where the controllers' hierarchies are mounted; that of version 2 where version 1 lacks one of them, as for the daemon. */
function mountsOf(controllers: readonly string[]): string[] {
  const lines = readFileSync("/proc/self/mounts", "utf8").trim().split("\n");
  const mounts = lines.map((line) => line.split(" ")).map(([, at = "", kind, options = ""]) => ({ at, kind, options }));
  const has = (controller: string) => (options: string) => options.split(",").includes(controller);
  const first = controllers.flatMap(
    (controller) => mounts.find(({ kind, options }) => kind === "cgroup" && has(controller)(options))?.at ?? [],
  );
  if (first.length === controllers.length) return [...new Set(first)];
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
