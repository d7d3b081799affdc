// Builds the native engine and the sandbox's daemon with cargo and puts them where they are looked for; tells what
// index.d.ts must say.
// Needs nothing but Bun and cargo: it runs before `bun install` is known to have worked.
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { typeDeclarations } from "./type-declarations.ts";

const root = join(import.meta.dir, "..", "..");
const sources = join(root, "crates", "node", "src");
// cargo's folder for build products, and in it what napi-derive reports while it compiles crates/node.
const target = process.env.CARGO_TARGET_DIR ?? join(root, "target");
const report = join(target, "gradus-types", "gradus-node");

/** Where the loader looks for the library. */
export const nativeLibraryPath = join(import.meta.dir, "gradus.linux-x64-gnu.node");
/** Where the rewards look for the sandbox's daemon; the npm package carries it beside the library. */
export const sandboxDaemonPath = join(root, "packages", "rewards", "bin", "gradus-sandboxd");
const publishedDaemonPath = join(import.meta.dir, "gradus-sandboxd");
/** The committed declarations of what the library exports; written from `nativeTypes`. */
export const nativeTypesPath = join(import.meta.dir, "index.d.ts");

/**
 * Compiles crates/node in the release profile and installs the library; false when a program failed (it said why).
 * `stripped` leaves out the line tables, which make three quarters of the file: what is published.
 */
export async function buildNative({ stripped = false } = {}): Promise<boolean> {
  return (await compile()) && install("libgradus_node.so", nativeLibraryPath, stripped);
}

/** Compiles crates/sandbox and installs its daemon, `stripped` where the npm package takes it from; false as above. */
export async function buildSandbox({ stripped = false } = {}): Promise<boolean> {
  const command = "cargo build --release --package gradus-sandbox --bin gradus-sandboxd --locked".split(" ");
  if (!(await succeeds(command, { CARGO_TARGET_DIR: target }))) return false;
  return install("gradus-sandboxd", stripped ? publishedDaemonPath : sandboxDaemonPath, stripped);
}

async function install(product: string, path: string, stripped: boolean): Promise<boolean> {
  mkdirSync(dirname(path), { recursive: true });
  // A copy that is renamed into place: a process that has the old file mapped keeps it.
  const fresh = `${path}.${process.pid}`;
  copyFileSync(join(target, "release", product), fresh);
  if (stripped && !(await succeeds(["strip", "--strip-debug", fresh]))) return false;
  renameSync(fresh, path);
  return true;
}

/** The text that index.d.ts must have for the sources as they are; undefined when cargo failed (it said why). */
export async function nativeTypes(): Promise<string | undefined> {
  const newest = Math.max(...readdirSync(sources).map((name) => statSync(join(sources, name)).mtimeMs));
  if (!existsSync(report) || statSync(report).mtimeMs < newest) {
    // The crate may have been compiled without a report; it must be compiled once more.
    utimesSync(join(sources, "lib.rs"), new Date(), new Date());
  }
  if (!(await compile())) return undefined;
  return typeDeclarations(readFileSync(report, "utf8"));
}

async function compile(): Promise<boolean> {
  mkdirSync(join(target, "gradus-types"), { recursive: true });
  return succeeds(["cargo", "build", "--release", "--package", "gradus-node", "--locked"], {
    CARGO_TARGET_DIR: target,
    NAPI_TYPE_DEF_TMP_FOLDER: join(target, "gradus-types"),
  });
}

async function succeeds(command: string[], env: Record<string, string> = {}): Promise<boolean> {
  // Stdout belongs to the verb that needed this build.
  const child = Bun.spawn(command, {
    cwd: root,
    stdin: "ignore",
    stdout: 2,
    stderr: "inherit",
    env: { ...process.env, ...env },
  });
  return (await child.exited) === 0;
}

if (import.meta.main) {
  const stripped = process.argv.includes("--strip");
  if (!(await buildNative({ stripped })) || !(await buildSandbox({ stripped }))) process.exit(1);
  if (process.argv.includes("--types")) {
    const types = await nativeTypes();
    if (types === undefined) process.exit(1);
    writeFileSync(nativeTypesPath, types);
  }
}
