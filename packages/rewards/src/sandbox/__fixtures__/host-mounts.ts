// The host's mounts before the attacks and after them. Logins, containers and packages mount things meanwhile, so only
// what the sandbox or an attack could have changed counts.
import { readFileSync } from "node:fs";

export type HostMount = { readonly at: string; readonly options: readonly string[]; readonly line: string };
/** By id. */
export type HostMounts = ReadonlyMap<string, HostMount>;

/** Where crates/sandbox/src/rootfs.rs mounts: on the scaffold, below it, and in the root that it then enters. */
const scaffold = "/tmp";
const builtOn = ["/tmp/old", "/tmp/new", "/old", "/new", "/box"];
/** What nobody unmounts while a machine is in use, but a root that is detached outside its namespace takes away. */
const lasting = ["/", "/dev", "/proc", "/sys", scaffold];
/** What the sandbox sets on mounts. */
const walls = ["ro", "nosuid", "nodev"];

export function hostMounts(mountinfo = readFileSync("/proc/self/mountinfo", "utf8")): HostMounts {
  const lines = mountinfo.split("\n").filter((line) => line !== "");
  return new Map(
    lines.map((line) => {
      const [id = "", , , , at = "", options = ""] = line.split(" ");
      return [id, { at, options: options.split(","), line }];
    }),
  );
}

/**
 * The differences that the sandbox or an attack could have made, a line each: a mount where it mounts things or in one of
 * `folders`, a wall set on a mount of the host, a mount gone that every host keeps.
 */
export function tracesOf(before: HostMounts, after: HostMounts, folders: readonly string[]): string[] {
  const watched = [...builtOn, ...folders];
  const isWatched = (at: string) =>
    at === scaffold || watched.some((place) => at === place || at.startsWith(`${place}/`));
  const isOld = (id: string, { at }: HostMount) => before.get(id)?.at === at;
  const made = [...after].filter(([id, mount]) => !isOld(id, mount) && isWatched(mount.at));
  const walled = [...after].filter(([id, mount]) => {
    const was = isOld(id, mount) ? before.get(id) : undefined;
    return was !== undefined && walls.some((wall) => mount.options.includes(wall) && !was.options.includes(wall));
  });
  const places = new Set([...after.values()].map(({ at }) => at));
  const gone = [...before.values()].filter(({ at }) => lasting.includes(at) && !places.has(at));
  return [
    ...[...made, ...walled].map(([, { line }]) => `there is now: ${line}`),
    ...gone.map(({ line }) => `there is no more: ${line}`),
  ];
}
