// `bun run fix`: formats everything and mends what the linters can mend by themselves.
import { join } from "node:path";
import { argumentsOf } from "./arguments.ts";
import { runCommand } from "./run-command.ts";

argumentsOf("fix", "usage: bun run fix\nFormats everything and mends what the linters can mend by themselves.");
const root = join(import.meta.dir, "..");
const biome = join(root, "node_modules", ".bin", "biome");

let failed = false;
for (const command of [
  ["cargo", "fmt", "--all"],
  [biome, "check", "--write"],
]) {
  failed = (await runCommand(command, { cwd: root, show: true })).exitCode !== 0 || failed;
}
process.exit(failed ? 1 : 0);
