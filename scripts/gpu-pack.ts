// `bun run gpu-pack [--part NAME]`: everything that a machine with a GPU needs to check and time the engine, in one folder below 60 MiB.
// That machine has neither Rust nor Bun nor a network: python3 with PyTorch runs dist/gpu-bundle/run.sh (benchmarks/gpu/run.py).
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { parseArgs } from "node:util";
import { nativeLibraryPath } from "../packages/native/build.ts";
import { buildPack, buildSimulator, isPackCurrent, packPath, simulatorPath } from "./kernel-compile.ts";
import { fetchNvcc, installedNvcc } from "./nvcc.ts";
import { runCommand } from "./run-command.ts";

const root = join(import.meta.dir, "..");
const sources = join(root, "benchmarks", "gpu");
const bytesMax = 60 * 2 ** 20;

/** Parts of parts.py, and what each needs of the bundle. */
const needs = {
  cpu: ["programs", "pack", "simulator", "engine"],
  check: ["programs", "pack"],
  sanitizer: ["programs", "pack"],
  bench: ["programs", "pack"],
  engine: ["pack", "engine"],
  "engine-7b": ["pack", "engine"],
  "grpo-7b": ["pack", "engine"],
} as const;
type Part = keyof typeof needs;
export const partNames = [
  "cpu",
  "check",
  "sanitizer",
  "bench",
  "engine",
  "engine-7b",
  "grpo-7b",
] as const satisfies readonly Part[];

/** What stays outside of the archive: what unpacks it, and what it runs beside. */
const scripts = ["run.sh", ...readdirSync(sources).filter((name) => name.endsWith(".py"))];

const usage = `usage: bun run gpu-pack [--part ${partNames.join("|")}]
Makes dist/gpu-bundle and runs its part \`cpu\`, which tries the others in small; on a machine with a GPU ./run.sh [--part NAME] runs it.
--part, also more than once: only what these parts need. GRADUS_PYTHON names a python3 with PyTorch, so that the peers are tried, too.`;

/**
 * How a bundle is made: its parts, its folder, and whether it is packed with Bun itself (a minute or two), or stands as it is for a test.
 * A test leaves the kernels out where nvcc made none.
 */
export type BundleOptions = { parts: readonly Part[]; folder: string; packed: boolean; withKernels: boolean };

/** Makes the bundle and gives its size in bytes; throws with what to do where something cannot be made. */
export async function makeBundle({ parts, folder, packed, withKernels }: BundleOptions): Promise<number> {
  const has = (piece: string) => parts.some((part) => needs[part].some((need) => need === piece));
  const fresh = `${folder}.${process.pid}`;
  rmSync(fresh, { recursive: true, force: true });
  mkdirSync(fresh, { recursive: true });
  try {
    for (const name of scripts) copyFileSync(join(sources, name), join(fresh, name));
    chmodSync(join(fresh, "run.sh"), 0o755);
    if (has("pack") && withKernels) await addPack(fresh);
    if (has("simulator")) await addSimulator(fresh);
    if (has("programs")) await addPrograms(fresh);
    if (has("engine")) await addEngine(fresh);
    if (has("engine")) await addRecipe(fresh);
    if (packed) await pack(fresh, has("engine"));
    const commit = (await told(["git", "describe", "--always", "--dirty"])).trim();
    writeFileSync(join(fresh, "bundle.json"), JSON.stringify({ commit, made: new Date().toISOString(), parts }));
    const bytes = bytesBelow(fresh);
    if (packed && bytes > bytesMax)
      throw new Error(`the bundle is ${mib(bytes)}, at most 60 MiB; make a smaller one with --part`);
    rmSync(folder, { recursive: true, force: true });
    renameSync(fresh, folder);
    return bytes;
  } finally {
    rmSync(fresh, { recursive: true, force: true });
  }
}

/** The kernels for GPUs; compiled now unless they are there. */
async function addPack(folder: string): Promise<void> {
  if (!isPackCurrent(root)) await buildPack(root, (await installedNvcc(process.env)) ?? (await fetchNvcc(root)));
  copyFileSync(packPath(root), join(folder, "gradus.kernels"));
}

async function addSimulator(folder: string): Promise<void> {
  await buildSimulator(root);
  mkdirSync(join(folder, "lib"));
  copyFileSync(simulatorPath(root), join(folder, "lib", basename(simulatorPath(root))));
}

/** Tests of crates/cuda that are about the simulator alone. */
const simulatorTests = ["decode_step", "driver", "memory"];
const examples = ["bench_ops", "check_large"];

/** The tests of crates/cuda that run on any device with the models that they know, and its examples. */
async function addPrograms(folder: string): Promise<void> {
  const tests = readdirSync(join(root, "crates", "cuda", "tests"))
    .filter((name) => name.endsWith(".rs"))
    .map((name) => name.slice(0, -".rs".length))
    .filter((name) => !simulatorTests.includes(name));
  const command = "cargo build --release --package gradus-cuda --message-format json-render-diagnostics".split(" ");
  const targets = [...tests.flatMap((name) => ["--test", name]), ...examples.flatMap((name) => ["--example", name])];
  const output = await told([...command, ...targets]);
  mkdirSync(join(folder, "bin"));
  for (const [, name = "", path = ""] of output.matchAll(
    /"kind":\["(?:test|example)"\][^\n]*?"name":"(\w+)"[^\n]*"executable":"([^"]+)"/g,
  )) {
    const program = join(folder, "bin", path.includes("/examples/") ? name : `test_${name}`);
    copyFileSync(path, program);
    await told(["strip", program]);
  }
  const [found, expected] = [readdirSync(join(folder, "bin")).length, tests.length + examples.length];
  if (found !== expected) throw new Error(`cargo made ${found} programs, expected ${expected}`);
  cpSync(join(root, "crates", "testing", "golden"), join(folder, "golden"), { recursive: true });
}

/** The TypeScript in one file, and the native library beside it. */
async function addEngine(folder: string): Promise<void> {
  const built = await Bun.build({ entrypoints: [join(sources, "engine.ts")], target: "bun", outdir: folder });
  if (!built.success) throw new Error(`benchmarks/gpu/engine.ts cannot be bundled: ${built.logs.join("; ")}`);
  if (!existsSync(nativeLibraryPath)) throw new Error('the native engine is not built; run "bun run setup"');
  const library = join(folder, basename(nativeLibraryPath));
  copyFileSync(nativeLibraryPath, library);
  await told(["strip", "--strip-debug", library]);
}

/** `bun run train` in one file. It looks for datasets from where its source lies, so the folders are those of the repository. */
async function addRecipe(folder: string): Promise<void> {
  const presets = join(folder, "recipe", "packages", "config", "src", "presets");
  const entrypoint = join(root, "apps", "train", "src", "main.ts");
  const built = await Bun.build({ entrypoints: [entrypoint], target: "bun", outdir: presets, naming: "train.js" });
  if (!built.success) throw new Error(`apps/train cannot be bundled: ${built.logs.join("; ")}`);
  const library = basename(nativeLibraryPath);
  symlinkSync(join("..", "..", "..", "..", "..", library), join(presets, library));
  cpSync(join(root, "datasets", "sums"), join(folder, "recipe", "datasets", "sums"), { recursive: true });
}

/** Packs the programs in one archive: each embeds the kernels, which xz then keeps once. Bun lies beside it. */
async function pack(folder: string, withBun: boolean): Promise<void> {
  const names = readdirSync(folder).filter((name) => !scripts.includes(name));
  if (names.length > 0) {
    const program =
      "import sys,tarfile; a = tarfile.open(sys.argv[1], 'w:xz', preset=9); [a.add(n) for n in sys.argv[2:]]; a.close()";
    await told(["python3", "-c", program, "payload.tar.xz", ...names], folder);
    for (const name of names) rmSync(join(folder, name), { recursive: true });
  }
  if (withBun) copyFileSync(await packedBun(), join(folder, "bun.xz"));
}

/** Bun itself, packed once for each version; python3 unpacks it where there is no xz. */
async function packedBun(): Promise<string> {
  const folder = join(root, "build", "gpu-pack");
  const packed = join(folder, `bun-${Bun.version}.xz`);
  if (existsSync(packed)) return packed;
  mkdirSync(folder, { recursive: true });
  const program =
    "import lzma,shutil,sys; shutil.copyfileobj(open(sys.argv[1],'rb'), lzma.open(sys.argv[2],'wb',preset=9), 1<<20)";
  await told(["python3", "-c", program, process.execPath, `${packed}.tmp`]);
  renameSync(`${packed}.tmp`, packed);
  return packed;
}

/** What a program prints; throws its last lines where it fails. */
async function told(command: readonly string[], folder = root): Promise<string> {
  const { exitCode, output } = await runCommand(command, { cwd: folder, show: false });
  if (exitCode !== 0) throw new Error(`${command[0]} failed: ${output.trim().split("\n").slice(-5).join("\n")}`);
  return output;
}

function bytesBelow(folder: string): number {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce((sum, entry) => sum + statSync(join(entry.parentPath, entry.name)).size, 0);
}

const mib = (bytes: number) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

/** The parts of the command line. */
function partsOf(): readonly Part[] {
  const { values } = parseArgs({
    options: { part: { type: "string", multiple: true }, help: { type: "boolean", default: false } },
  });
  if (values.help) {
    console.log(usage);
    process.exit(0);
  }
  const given = (values.part ?? []).map((name) => {
    const part = partNames.find((known) => known === name);
    if (part === undefined) throw new Error(`there is no part ${name}; there are ${partNames.join(", ")}`);
    return part;
  });
  return given.length === 0 ? partNames : given;
}

/** Runs what of the bundle runs here, as it is met elsewhere: from the packed folder, into a new one, with nothing of this shell's. */
async function tryOut(folder: string): Promise<void> {
  const scratch = mkdtempSync(join(tmpdir(), "gradus-gpu-bundle-"));
  const python = process.env.GRADUS_PYTHON;
  const env = { PATH: process.env.PATH, HOME: scratch, TMPDIR: scratch, ...(python && { GRADUS_PYTHON: python }) };
  try {
    const child = Bun.spawn([join(folder, "run.sh"), "--part", "cpu"], {
      cwd: scratch,
      env,
      stdio: ["ignore", "pipe", "inherit"],
    });
    const output = await new Response(child.stdout).text();
    // The last line is for programs.
    console.log(output.trimEnd().split("\n").slice(0, -1).join("\n"));
    if ((await child.exited) !== 0)
      throw new Error(`${folder} is made, but its part cpu failed; the lines above say where`);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

if (import.meta.main) {
  try {
    const folder = join(root, "dist", "gpu-bundle");
    const parts = partsOf();
    const bytes = await makeBundle({ parts, folder, packed: true, withKernels: true });
    if (parts.includes("cpu")) await tryOut(folder);
    console.log(`${folder} made, ${mib(bytes)}; on a machine with a GPU: ./run.sh`);
  } catch (error) {
    console.error(`gpu-pack: ${error instanceof Error ? error.message : String(error)}`);
    process.exit(1);
  }
}
