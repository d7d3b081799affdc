// Checks who imports whom (ARCHITECTURE.md): the crates' Cargo.toml, the packages' imports, and names that say nothing.
// Pure over a list of files, so that the test plants wrong imports; `bun scripts/check.ts` feeds it the tracked files.

/** A tracked file: path from the repository's root, and its text. */
export type SourceFile = { path: string; text: string };

/** Crate → crates it may name in [dependencies]. testing is a dev-dependency only. */
const crateEdges: Record<string, readonly string[]> = {
  tensor: [],
  ops: ["tensor"],
  cpu: ["ops", "tensor"],
  cuda: ["ops", "tensor"],
  text: [],
  model: ["ops", "tensor"],
  engine: ["model", "ops", "tensor", "text"],
  train: ["model", "ops", "tensor"],
  sandbox: [],
  node: ["cpu", "cuda", "engine", "model", "ops", "tensor", "text", "train"],
  testing: ["ops", "tensor"],
};

/** Package → workspace packages it may import. */
const packageEdges: Record<string, readonly string[]> = {
  native: [],
  config: [],
  data: [],
  rewards: [],
  rl: ["rewards"],
  evals: ["rewards"],
  sdk: ["native", "config", "data", "rewards", "rl", "evals"],
  store: [],
  train: ["config", "data", "rewards", "rl", "evals", "sdk", "store"],
  judge: ["rewards"],
};

/** A module that only one place may know. */
const soleOwners: readonly { module: RegExp; owner: string }[] = [
  { module: /^(drizzle-orm|bun:sqlite)/, owner: "packages/store/" },
  { module: /\.node$/, owner: "packages/native/" },
];

const emptyNames = /(^|\/)(utils?|common|helpers?|misc|manager|v2)(\.[a-z.]+|\/|$)/;
const linesMax = 400;

/** Every broken rule as one line that names the file and the rule; empty when the house is in order. */
export function edgeViolations(files: readonly SourceFile[]): string[] {
  return files.flatMap((file) => [...nameViolations(file), ...crateViolations(file), ...importViolations(file)]);
}

function nameViolations({ path, text }: SourceFile): string[] {
  const found: string[] = [];
  if (emptyNames.test(path) && !path.startsWith("kernels/common/")) {
    found.push(`${path}: the name says nothing; name the file after what it holds`);
  }
  const lines = text.split("\n").length;
  if (/\.(rs|ts)$/.test(path) && !path.endsWith(".d.ts") && lines > linesMax) {
    found.push(`${path}: ${lines} lines, the most is ${linesMax}; split it by what it does`);
  }
  return found;
}

function crateViolations({ path, text }: SourceFile): string[] {
  const crate = /^crates\/([^/]+)\/Cargo\.toml$/.exec(path)?.[1];
  if (crate === undefined) return [];
  const allowed = crateEdges[crate];
  if (allowed === undefined) return [`${path}: crate ${crate} has no row in scripts/check-edges.ts`];
  const section = /^\[dependencies\]\n([\s\S]*?)(?=^\[|(?![\s\S]))/m.exec(text)?.[1] ?? "";
  const names = [...section.matchAll(/^([A-Za-z0-9_-]+)/gm)].map((match) => match[1] ?? "");
  const found = names
    .filter((name) => name.startsWith("gradus-") && !allowed.includes(name.slice("gradus-".length)))
    .map((name) => `${path}: ${crate} must not depend on ${name}`);
  if (crate !== "node" && names.some((name) => name.startsWith("napi"))) found.push(`${path}: only node knows napi`);
  return found;
}

function importViolations({ path, text }: SourceFile): string[] {
  const owner = /^(packages|apps)\/([^/]+)\//.exec(path);
  if (owner === null || !/\.tsx?$/.test(path) || path.endsWith(".d.ts")) return [];
  const [folder, , name = ""] = owner;
  const allowed = packageEdges[name];
  if (allowed === undefined) return [`${path}: package ${name} has no row in scripts/check-edges.ts`];
  const found: string[] = [];
  for (const match of text.matchAll(
    /(?:^|[\s;])(?:import|export)\s[^"';]*?from\s+"([^"]+)"|import\(\s*"([^"]+)"\s*\)|^import\s+"([^"]+)"/gm,
  )) {
    const module = match[1] ?? match[2] ?? match[3] ?? "";
    const target = module === "gradus" ? "sdk" : /^@gradus\/([^/]+)$/.exec(module)?.[1];
    if (target !== undefined && target !== name && !allowed.includes(target)) {
      found.push(`${path}: ${name} must not import ${module}`);
    }
    if (/^(@gradus\/[^/]+|gradus)\//.test(module))
      found.push(`${path}: ${module} reaches into a package; import its index`);
    const isGolden = path.endsWith(".test.ts") && module.includes("/__fixtures__/");
    if (module.startsWith(".") && !isGolden && !new URL(module, `file:///${path}`).pathname.startsWith(`/${folder}`)) {
      found.push(`${path}: ${module} leaves the package; import the package by its name`);
    }
    for (const { module: pattern, owner: place } of soleOwners) {
      if (pattern.test(module) && !path.startsWith(place)) found.push(`${path}: only ${place} may import ${module}`);
    }
  }
  return found;
}
