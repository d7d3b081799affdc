// Loads the engine: the Node-API library that crates/node builds, which lies beside this file.
import { createRequire } from "node:module";

const supported = { "linux-x64": "gradus.linux-x64-gnu.node" };

function load() {
  const platform = `${process.platform}-${process.arch}`;
  const file = supported[platform];
  if (file === undefined) {
    throw new Error(
      `gradus has no native engine for ${platform}; supported: ${Object.keys(supported).join(", ")} (glibc)`,
    );
  }
  try {
    return createRequire(import.meta.url)(`./${file}`);
  } catch (cause) {
    const missing = cause?.code === "MODULE_NOT_FOUND" || /cannot find module/i.test(String(cause?.message));
    const remedy = missing
      ? `the native engine ${file} is not built; run "bun run setup" in the repository (it needs cargo)`
      : `the native engine ${file} cannot be loaded (${cause?.message}); it needs x86-64 Linux with glibc 2.31 or newer`;
    throw new Error(`gradus: ${remedy}`, { cause });
  }
}

const native = load();

export const {
  NativeBatch,
  NativePolicy,
  createPolicy,
  gpuStatus,
  latestCheckpoint,
  loadPolicy,
  pruneCheckpointsOf,
  resumePolicy,
} = native;
