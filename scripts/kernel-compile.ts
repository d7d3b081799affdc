// Compiles kernels/: for GPUs with nvcc into the kernel pack, for the host with g++ into the simulator's library.
// Needs nothing installed but Bun: setup runs it. Every product is named after the hash of what it was made of and made once.
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { type CompiledModule, packOf, sourcesOf } from "./kernel-pack.ts";
import { hashOf, kernelUnits, type Unit } from "./kernel-sources.ts";
import type { Nvcc } from "./nvcc.ts";
import { runCommand } from "./run-command.ts";

const nvccFlags = ["-std=c++17", "-O3", "-fmad=false", "-Xptxas", "-v"];
/** cubins for Ampere and Hopper; PTX, which the driver compiles, for chips that are newer than this build. */
const targets = [
  { arch: "sm_80", flags: ["-gencode=arch=compute_80,code=sm_80", "-cubin"] },
  { arch: "sm_90a", flags: ["-gencode=arch=compute_90a,code=sm_90a", "-cubin"] },
  { arch: "compute_80", flags: ["-arch=compute_80", "-ptx"] },
] as const;

const hostFlags = "-std=c++17 -O2 -g1 -fPIC -DGRADUS_SIM -ffp-contract=off -mavx2 -mfma -fvisibility=hidden";
const warningFlags = "-Wall -Wextra -Werror -Wno-unknown-pragmas";
/** Each load and store of a kernel becomes a call of the simulator's; none may be merged or moved before that. */
const checkedFlags =
  "-fno-strict-aliasing -fno-tree-vectorize -fno-store-merging -fsanitize=thread --param tsan-instrument-func-entry-exit=0";

/** What ptxas printed of one file for one architecture. */
export type CompilerReport = { name: string; arch: string; output: string };

/** Where the pack lies that crates/cuda embeds. */
export function packPath(root: string): string {
  return join(root, "build", "kernel-pack", "gradus.kernels");
}

/** Where `device: "cuda-sim"` looks for the simulator. */
export function simulatorPath(root: string): string {
  return join(root, "build", "kernels", "libgradus_cuda_sim.so");
}

/** The tests of the simulator and of the kernels in C++, a program. */
export function kernelTestsPath(root: string): string {
  return join(root, "build", "kernels", "kernel-tests");
}

/** The hash of everything that a pack is made of but the compiler. */
function packSources(units: readonly Unit[]): string {
  return hashOf([JSON.stringify([nvccFlags, targets]), ...units.flatMap(({ name, hash }) => [name, hash])]);
}

function gpuUnits(root: string): Unit[] {
  return kernelUnits(join(root, "kernels")).filter(({ kind }) => kind === "kernel");
}

/** Whether the pack that is there was made of the kernels as they are now. */
export function isPackCurrent(root: string): boolean {
  const path = packPath(root);
  return existsSync(path) && sourcesOf(readFileSync(path)) === packSources(gpuUnits(root));
}

/** Removes a pack, so that the engine is built without kernels for GPUs. */
export function removePack(root: string): void {
  rmSync(packPath(root), { force: true });
}

/** Compiles every kernel for every architecture and writes the pack; throws with the compiler's words where one fails. */
export async function buildPack(root: string, nvcc: Nvcc): Promise<CompilerReport[]> {
  const units = gpuUnits(root);
  const folder = join(root, "build", "kernels", "gpu");
  mkdirSync(folder, { recursive: true });
  const jobs = units.flatMap((unit) =>
    targets.filter(({ arch }) => !unit.isHopperOnly || arch === "sm_90a").map((target) => ({ unit, target })),
  );
  const used = new Set<string>();
  const compiled = await inParallel(jobs, async ({ unit, target: { arch, flags } }) => {
    const command = [nvcc.path, ...nvccFlags, "-I", join(root, "kernels"), ...flags];
    const key = hashOf([nvcc.version, JSON.stringify([nvccFlags, flags]), unit.hash]).slice(0, 16);
    const image = join(folder, `${unit.name.replaceAll("/", "-")}.${arch}.${key}`);
    used.add(image).add(`${image}.log`);
    if (!existsSync(`${image}.log`)) {
      const output = await compile([...command, "-o", unfinished(image), unit.path], unit.path);
      renameSync(unfinished(image), image);
      writeFileSync(`${image}.log`, output);
    }
    const bytes = readFileSync(image);
    const output = readFileSync(`${image}.log`, "utf8");
    const module: CompiledModule = { name: unit.name, arch, kernels: entriesOf(arch, bytes, output), image: bytes };
    return { module, report: { name: unit.name, arch, output } };
  });
  removeOthers(folder, used);
  const modules = compiled.map(({ module }) => module);
  const twice = duplicateKernel(modules);
  if (twice !== undefined) throw new Error(`two files have a kernel ${twice}; names are unique over all of kernels/`);
  writeWhole(packPath(root), packOf(nvcc.version, packSources(units), modules));
  return compiled.map(({ report }) => report);
}

/** Entry points: PTX names them, and ptxas tells those of a cubin. */
function entriesOf(arch: string, image: Uint8Array, output: string): string[] {
  const [text, pattern] = arch.startsWith("compute_")
    ? [new TextDecoder().decode(image), /\.entry\s+(\w+)/g]
    : [output, /Compiling entry function '(\w+)'/g];
  return [...text.matchAll(pattern)].map((match) => match[1] ?? "").sort();
}

function duplicateKernel(modules: readonly CompiledModule[]): string | undefined {
  const seen = new Set<string>();
  for (const { arch, kernels } of modules) {
    for (const kernel of kernels) {
      if (seen.has(`${arch} ${kernel}`)) return kernel;
      seen.add(`${arch} ${kernel}`);
    }
  }
  return undefined;
}

/** Compiles every kernel for the host and links the simulator and the tests; gives whether anything was made. */
export async function buildSimulator(root: string): Promise<boolean> {
  const folder = join(root, "build", "kernels", "sim");
  mkdirSync(folder, { recursive: true });
  const used = new Set<string>();
  const objects = await inParallel(kernelUnits(join(root, "kernels")), async (unit) => {
    const flags = [hostFlags, warningFlags, ...(unit.path.endsWith(".cu") ? [checkedFlags] : [])].join(" ").split(" ");
    const object = join(folder, `${unit.name.replaceAll("/", "-")}.${hashOf([...flags, unit.hash]).slice(0, 16)}.o`);
    used.add(object);
    if (!existsSync(object)) {
      const command = ["g++", ...flags, "-I", join(root, "kernels"), "-x", "c++", "-c", unit.path];
      await compile([...command, "-o", unfinished(object)], unit.path);
      renameSync(unfinished(object), object);
    }
    return { unit, object };
  });
  removeOthers(folder, used);
  const isTests = ({ unit }: { unit: Unit }) => unit.kind === "tests";
  const library = objects.filter((each) => !isTests(each)).map(({ object }) => object);
  const made = await link(simulatorPath(root), ["-shared"], library);
  const tests = objects.filter(isTests).map(({ object }) => object);
  if (tests.length === 0) return made;
  return (await link(kernelTestsPath(root), ["-pthread"], [...tests, ...library])) || made;
}

/** Links objects into `path` unless they are what it was linked of. */
async function link(path: string, flags: readonly string[], objects: readonly string[]): Promise<boolean> {
  const stamp = `${path}.stamp`;
  const inputs = hashOf([...flags, ...objects]);
  if (existsSync(path) && existsSync(stamp) && readFileSync(stamp, "utf8") === inputs) return false;
  await compile(["g++", ...flags, "-o", unfinished(path), ...objects], path);
  // Renamed: a process that has the old library mapped keeps the old file.
  renameSync(unfinished(path), path);
  writeWhole(stamp, new TextEncoder().encode(inputs));
  return true;
}

/** Runs a compiler; gives what it printed, or throws it as one error that names the file. */
async function compile(command: readonly string[], path: string): Promise<string> {
  const missing = {
    exitCode: 1,
    output: `${command[0]} cannot be started; install g++ (Debian, Ubuntu: apt-get install g++)`,
  };
  const { exitCode, output } = await runCommand(command, { cwd: "/", show: false }).catch(() => missing);
  if (exitCode !== 0) throw new Error(`${path} did not compile:\n${output.trimEnd()}`);
  return output;
}

/** Does the work on every item, as many at once as there are cores; results are in order. */
async function inParallel<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const results = new Map<number, R>();
  let next = 0;
  const worker = async () => {
    for (let index = next++; index < items.length; index = next++) {
      const item = items[index];
      if (item !== undefined) results.set(index, await work(item));
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() }, worker));
  return [...results].sort(([a], [b]) => a - b).map(([, result]) => result);
}

/** Writes a file that is there whole or not at all. */
function writeWhole(path: string, bytes: Uint8Array): void {
  mkdirSync(join(path, ".."), { recursive: true });
  writeFileSync(unfinished(path), bytes);
  renameSync(unfinished(path), path);
}

/** Where a file is written before it is whole: another process may be at the same one. */
function unfinished(path: string): string {
  return `${path}.${process.pid}.tmp`;
}

/** Removes what no source asks for any longer; what another process is writing stays. */
function removeOthers(folder: string, used: ReadonlySet<string>): void {
  for (const name of readdirSync(folder)) {
    if (!used.has(join(folder, name)) && !name.endsWith(".tmp")) rmSync(join(folder, name), { force: true });
  }
}
