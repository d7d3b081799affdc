// `bun run check`: format, lint, types, import edges, generated files, the README's tree. Every finding names its remedy.
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { argumentsOf } from "./arguments.ts";
import { edgeViolations } from "./check-edges.ts";
import { treeViolations } from "./check-tree.ts";
import { staleGeneratedFiles } from "./gen.ts";
import { runCommand } from "./run-command.ts";
import type { Tally } from "./tally.ts";

const root = join(import.meta.dir, "..");

/** One check: its name, what to do when it fails, and the findings (none when all is well). */
type Check = { name: string; remedy: string; run: () => Promise<readonly string[]> };

/** A check that is a program: its output is the finding. */
function program(name: string, remedy: string, command: readonly string[]): Check {
  return {
    name,
    remedy,
    run: async () => {
      const { exitCode, output } = await runCommand(command, { cwd: root, show: false });
      return exitCode === 0 ? [] : [output.trimEnd()];
    },
  };
}

/** Files git tracks or would track, that exist. */
async function sourceFiles(): Promise<string[]> {
  const { output } = await runCommand(["git", "ls-files", "--cached", "--others", "--exclude-standard"], {
    cwd: root,
    show: false,
  });
  return output.split("\n").filter((path) => path !== "" && existsSync(join(root, path)));
}

const read = (path: string) => ({ path, text: readFileSync(join(root, path), "utf8") });
const bin = (name: string) => join(root, "node_modules", ".bin", name);

const checks: readonly Check[] = [
  program("rust format", "bun run fix", ["cargo", "fmt", "--all", "--check"]),
  program("typescript format and lint", "bun run fix", [bin("biome"), "ci", "--colors=off", "--max-diagnostics=40"]),
  program("types", "mend the types named above", [bin("tsc"), "-p", "."]),
  {
    name: "import edges",
    remedy: "ARCHITECTURE.md says who may import whom",
    run: async () => edgeViolations((await sourceFiles()).filter((path) => /\.(ts|tsx|rs|toml)$/.test(path)).map(read)),
  },
  { name: "generated files", remedy: "bun run gen", run: () => staleGeneratedFiles() },
  {
    name: "readme tree",
    remedy: "bring the tree in README.md up to date",
    run: async () => treeViolations(readFileSync(join(root, "README.md"), "utf8"), await sourceFiles()),
  },
  program("clippy", "mend what clippy names above", [
    ..."cargo clippy --release --workspace --all-targets --quiet -- -D warnings".split(" "),
  ]),
];

/** Runs every check and prints a line each; gives the number that passed and failed, and which failed. */
export async function runChecks(): Promise<Tally> {
  const failures: string[] = [];
  for (const check of checks) {
    const began = performance.now();
    const findings = await check.run();
    const seconds = ((performance.now() - began) / 1000).toFixed(1);
    console.log(`${findings.length === 0 ? "ok  " : "FAIL"} ${check.name} (${seconds} s)`);
    if (findings.length === 0) continue;
    failures.push(check.name);
    for (const finding of findings) console.log(finding.replace(/^/gm, "     "));
    console.log(`     remedy: ${check.remedy}`);
  }
  return { passed: checks.length - failures.length, failed: failures.length, failures };
}

if (import.meta.main) {
  argumentsOf(
    "check",
    "usage: bun run check\nFormat, lint, types, import edges, generated files, the README's tree, clippy.",
  );
  process.exit((await runChecks()).failed === 0 ? 0 : 1);
}
