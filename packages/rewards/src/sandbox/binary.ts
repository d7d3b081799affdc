// Where gradus-sandboxd lies: built into packages/rewards/bin in the repository, beside the native library in npm.
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { SandboxError } from "./sandbox-error.ts";

const name = "gradus-sandboxd";

/** The daemon's path. Throws a SandboxError when it is not there. */
export function sandboxBinary(): string {
  const isSource = import.meta.url.endsWith(".ts");
  const folder = isSource ? fileURLToPath(new URL("../../bin", import.meta.url)) : nativeFolder();
  const path = join(folder, name);
  if (existsSync(path)) return path;
  const remedy = isSource ? "run `bun run setup` in the repository (it needs cargo)" : "install @gradus/native anew";
  throw new SandboxError("sandbox-failed", `${path} is missing`, remedy);
}

// The npm package of the native engine carries the daemon: both are built for one platform.
function nativeFolder(): string {
  return dirname(createRequire(import.meta.url).resolve("@gradus/native"));
}
