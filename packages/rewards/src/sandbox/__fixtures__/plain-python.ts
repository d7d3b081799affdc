// An interpreter that a plain user may run too: root's own one may lie in a home that others cannot enter.
import { existsSync, statSync } from "node:fs";
import { dirname } from "node:path";

/** The first python3 on the path, or in the usual places, whose folders everybody may enter. */
export function plainPython(): string {
  const folders = [...(process.env.PATH ?? "").split(":"), "/usr/bin", "/usr/local/bin"];
  const found = folders.map((folder) => `${folder}/python3`).find((path) => existsSync(path) && isOpen(path));
  if (found === undefined) throw new Error("no python3 that a plain user may run: apt-get install python3");
  return found;
}

function isOpen(path: string): boolean {
  for (let place = path; place !== "/"; place = dirname(place)) if ((statSync(place).mode & 0o001) === 0) return false;
  return true;
}
