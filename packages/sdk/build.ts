// Makes dist/ of the npm package: the workspace packages bundled into one ES module, and their type declarations.
// `npm pack` runs it (prepack). The native engine, the hash and zod stay imports: they are the package's dependencies.
// The worker of math verification is a file of its own, which holds the symbolic engine.
import { readdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";

const here = import.meta.dir;
const packages = join(here, "..");
const dist = join(here, "dist");
const inlined = ["config", "data", "evals", "rewards", "rl"];

rmSync(dist, { recursive: true, force: true });
await bundle();
await bundleWorker();
await declare();

async function bundle(): Promise<void> {
  const result = await Bun.build({
    entrypoints: [join(here, "src", "index.ts")],
    outdir: dist,
    target: "node",
    format: "esm",
    external: ["@gradus/native", "@noble/hashes", "zod"],
  });
  if (!result.success) throw new AggregateError(result.logs, "the SDK does not bundle");
}

/** The worker with the symbolic engine and its dependencies in it, and their licences beside it. */
async function bundleWorker(): Promise<void> {
  const rewards = join(packages, "rewards");
  const result = await Bun.build({
    entrypoints: [join(rewards, "src", "math", "symbolic-worker.ts")],
    outdir: dist,
    target: "node",
    format: "esm",
    minify: true,
  });
  if (!result.success) throw new AggregateError(result.logs, "the symbolic worker does not bundle");
  const engine = realpathSync(join(rewards, "node_modules", "@cortex-js", "compute-engine"));
  const beside = join(engine, "..", "..");
  const licences = [engine, join(beside, "complex-esm"), join(beside, "@arnog", "colors")].map((folder) => {
    // A package without a licence file names its licence in its package.json.
    const file = readdirSync(folder).find((name) => /^licen[cs]e/i.test(name)) ?? "package.json";
    return `${relative(beside, folder)}\n\n${readFileSync(join(folder, file), "utf8")}`;
  });
  writeFileSync(join(dist, "symbolic-worker.licences.txt"), licences.join("\n\n"));
}

/** tsc writes one declaration a source file; imports of workspace packages become relative ones. */
async function declare(): Promise<void> {
  const types = join(dist, "types");
  const tsc = join(packages, "..", "node_modules", ".bin", "tsc");
  const options = [
    "--noEmit",
    "false",
    "--emitDeclarationOnly",
    "--declaration",
    "--rootDir",
    packages,
    "--outDir",
    types,
  ];
  const project = join(here, "tsconfig.build.json");
  const child = Bun.spawn([tsc, "-p", project, ...options], { stdout: 2, stderr: "inherit" });
  if ((await child.exited) !== 0) throw new Error("the SDK's declarations do not compile");
  for (const path of readdirSync(types, { recursive: true, encoding: "utf8" })) {
    if (path.endsWith(".d.ts")) rewriteImports(types, join(types, path));
  }
}

function rewriteImports(types: string, file: string): void {
  const text = readFileSync(file, "utf8").replace(
    /(from |import\()"([^"]+)"/g,
    (whole, keyword: string, module: string) => {
      const name = inlined.find((candidate) => module === `@gradus/${candidate}`);
      if (name !== undefined) {
        const path = relative(dirname(file), join(types, name, "src", "index.js"));
        return `${keyword}"${path.startsWith(".") ? path : `./${path}`}"`;
      }
      return module.startsWith(".") ? `${keyword}"${module.replace(/\.ts$/, ".js")}"` : whole;
    },
  );
  writeFileSync(file, text);
}
