// Finds CUDA's compiler, or fetches it into the build folder. Compiling needs neither a driver nor a GPU.
import { existsSync, mkdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { runCommand } from "./run-command.ts";

/** A compiler that can make the kernels. */
export type Nvcc = { path: string; version: string };

const majorMin = 13;

/** Where `fetchNvcc` puts the compiler. */
export function fetchedNvcc(root: string): string {
  return join(root, "build", "cuda", "nvidia", "cu13", "bin", "nvcc");
}

/** The compiler of CUDA_HOME or of PATH, else undefined; a compiler older than CUDA 13 is none. */
export async function installedNvcc(env: Record<string, string | undefined>): Promise<Nvcc | undefined> {
  const home = env.CUDA_HOME;
  const found = home === undefined || home === "" ? Bun.which("nvcc") : join(home, "bin", "nvcc");
  return found === null ? undefined : nvccAt(found);
}

/** The compiler at `path`, if there is one that can make the kernels. */
export async function nvccAt(path: string): Promise<Nvcc | undefined> {
  if (!existsSync(path)) return undefined;
  const { exitCode, output } = await runCommand([path, "--version"], { cwd: "/", show: false });
  const version = /\bV(\d+\.\d+\.\d+)/.exec(output)?.[1];
  if (exitCode !== 0 || version === undefined || Number.parseInt(version, 10) < majorMin) return undefined;
  return { path, version };
}

/** Fetches the wheels of scripts/nvcc-requirements.txt, checked by hash, into build/cuda; throws with what to do where that fails. */
export async function fetchNvcc(root: string): Promise<Nvcc> {
  const there = await nvccAt(fetchedNvcc(root));
  if (there !== undefined) return there;
  const folder = join(root, "build", "cuda");
  // A download that was cut off never looks like a compiler: the folder gets its name when it is whole.
  const fresh = `${folder}.${process.pid}`;
  mkdirSync(join(root, "build"), { recursive: true });
  const requirements = join(root, "scripts", "nvcc-requirements.txt");
  const install =
    "python3 -m pip install --quiet --disable-pip-version-check --no-deps --only-binary=:all: --require-hashes";
  const { exitCode, output } = await runCommand(
    [...install.split(" "), "--root-user-action=ignore", "--target", fresh, "-r", requirements],
    { cwd: root, show: false },
  ).catch((error: unknown) => ({ exitCode: 1, output: String(error) }));
  if (exitCode !== 0) {
    rmSync(fresh, { recursive: true, force: true });
    const lines = output.trim().split("\n");
    const reason = lines.find((line) => line.startsWith("ERROR")) ?? lines.at(-1) ?? "";
    throw new Error(
      `nvcc could not be fetched (${reason}); python3 with pip and the network are needed, or CUDA 13 with nvcc on PATH or in CUDA_HOME`,
    );
  }
  rmSync(folder, { recursive: true, force: true });
  renameSync(fresh, folder);
  const nvcc = await nvccAt(fetchedNvcc(root));
  if (nvcc === undefined) throw new Error(`the fetched nvcc does not run: ${fetchedNvcc(root)} --version`);
  return nvcc;
}
