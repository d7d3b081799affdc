// Makes a fresh clone ready, and is a fraction of a second when it is: packages, native library, sandbox, a look at the
// tools.
// Runs before every verb (package.json), needs nothing installed but Bun, and speaks on stderr alone.
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { buildNative, buildSandbox, nativeLibraryPath, sandboxDaemonPath } from "../packages/native/build.ts";
import { buildPack, isPackCurrent, packPath, removePack } from "./kernel-compile.ts";
import { installedNvcc } from "./nvcc.ts";

const root = join(import.meta.dir, "..");
const stamps = join(root, "build", "setup");

/** Prints one line of progress. */
function say(line: string): void {
  process.stderr.write(`gradus: ${line}\n`);
}

/** Stops with one line that names what is missing and the command that helps. */
function stop(line: string): never {
  say(line);
  process.exit(1);
}

/** Every file below a folder, sorted, build products left out. */
function filesBelow(folder: string): string[] {
  const found: string[] = [];
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (entry.name === "node_modules" || entry.name === "target") continue;
    const path = join(folder, entry.name);
    if (entry.isDirectory()) found.push(...filesBelow(path));
    else found.push(path);
  }
  return found.sort();
}

/** A hash of names and contents: modification times would rebuild after every checkout. */
function fingerprint(files: readonly string[]): string {
  const hash = createHash("sha256");
  for (const file of files) {
    hash.update(file.slice(root.length));
    hash.update(readFileSync(file));
  }
  return hash.digest("hex");
}

/** Whether a step was last done for these very inputs. */
function isDone(step: string, inputs: string): boolean {
  const stamp = join(stamps, step);
  return existsSync(stamp) && readFileSync(stamp, "utf8") === inputs;
}

function markDone(step: string, inputs: string): void {
  mkdirSync(stamps, { recursive: true });
  const stamp = join(stamps, step);
  writeFileSync(`${stamp}.tmp`, inputs);
  renameSync(`${stamp}.tmp`, stamp);
}

/** Whether a program answers `--version`. */
function answers(program: string): boolean {
  try {
    return Bun.spawnSync([program, "--version"], { stdout: "ignore", stderr: "ignore" }).exitCode === 0;
  } catch {
    return false;
  }
}

/** Installs the pinned packages when the lock file or a package.json changed. */
function installPackages(): void {
  const manifests = ["packages", "apps"].flatMap((folder) =>
    readdirSync(join(root, folder)).map((name) => join(root, folder, name, "package.json")),
  );
  const inputs = fingerprint([
    join(root, "bun.lock"),
    join(root, "package.json"),
    ...manifests.filter((file) => existsSync(file)).sort(),
  ]);
  if (isDone("packages", inputs) && existsSync(join(root, "node_modules"))) return;
  say("installing packages");
  const install = Bun.spawnSync([process.execPath, "install", "--frozen-lockfile"], {
    cwd: root,
    stdout: "ignore",
    stderr: "pipe",
  });
  if (install.exitCode !== 0) {
    process.stderr.write(install.stderr);
    stop("the packages could not be installed (above is why); check the network, then run the command again");
  }
  markDone("packages", inputs);
}

/** What every build with cargo depends on besides its crates. */
const workspaceFiles = ["Cargo.toml", "Cargo.lock", "rust-toolchain.toml"].map((name) => join(root, name));
const sourcesBelow = (folder: string) =>
  filesBelow(join(root, folder)).filter((file) => !/\/(tests|examples|golden)\//.test(file));

/** Something that cargo builds: what it is made of (`inputs`, a fingerprint) and where it lands. */
type Product = {
  step: string;
  name: string;
  hint: string;
  inputs: string;
  path: string;
  build: () => Promise<boolean>;
};

/** Builds a product when what it is made of has changed. */
async function buildProduct({ step, name, hint, inputs, path, build }: Product): Promise<void> {
  if (isDone(step, inputs) && existsSync(path)) return;
  if (!answers("cargo")) stop("cargo is missing: install Rust from https://rustup.rs, then run the command again");
  if (!answers("cc"))
    stop("a C linker is missing: install one (Debian, Ubuntu: apt-get install g++), then run the command again");
  const began = performance.now();
  say(`building the ${name} (${hint})`);
  if (!(await build())) stop(`the ${name} did not build (above is why)`);
  say(`${name} built in ${Math.round((performance.now() - began) / 1000)} s`);
  markDone(step, inputs);
}

/** Compiles the kernels for GPUs where nvcc is installed. A pack of other sources is removed: nothing old is embedded. */
async function compileKernels(): Promise<void> {
  if (isPackCurrent(root)) return;
  removePack(root);
  const nvcc = await installedNvcc(process.env);
  if (nvcc === undefined) return;
  say(`compiling the kernels for GPUs with nvcc ${nvcc.version} (a minute the first time, seconds after a change)`);
  await buildPack(root, nvcc).catch((error: unknown) => stop(error instanceof Error ? error.message : String(error)));
}

async function buildEngine(): Promise<void> {
  const pack = existsSync(packPath(root)) ? [packPath(root)] : [];
  const forGpus = pack.length > 0 ? "" : "; for the CPU alone, because nvcc of CUDA 13 is not on PATH or in CUDA_HOME";
  const files = sourcesBelow("crates").filter((file) => !file.startsWith(join(root, "crates", "sandbox")));
  await buildProduct({
    step: "native",
    name: "native engine",
    hint: `about two minutes the first time, seconds after a change${forGpus}`,
    inputs: fingerprint([...files, ...workspaceFiles, ...pack]),
    path: nativeLibraryPath,
    build: buildNative,
  });
}

async function buildDaemon(): Promise<void> {
  await buildProduct({
    step: "sandbox",
    name: "sandbox",
    hint: "half a minute the first time",
    inputs: fingerprint([...sourcesBelow("crates/sandbox"), ...workspaceFiles]),
    path: sandboxDaemonPath,
    build: buildSandbox,
  });
}

const pinned = /bun@(\S+?)"/.exec(readFileSync(join(root, "package.json"), "utf8"))?.[1];
if (pinned !== Bun.version) say(`note: Bun ${Bun.version} runs this, tests were made with ${pinned}`);
installPackages();
await compileKernels();
await buildEngine();
await buildDaemon();
