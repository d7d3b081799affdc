// `bun run train`: the process, its arguments and its exit code.
import { processEffects } from "./process-effects.ts";
import { sdkPolicies } from "./sdk-policies.ts";
import { trainCommand } from "./train-command.ts";

process.exitCode = await trainCommand(process.argv.slice(2), processEffects(sdkPolicies(commit())));

/** Which Gradus this is; null outside of a git checkout. */
function commit(): string | null {
  if (Bun.which("git") === null) return null;
  const told = Bun.spawnSync(["git", "describe", "--always", "--dirty"], { cwd: import.meta.dirname });
  return told.success ? told.stdout.toString().trim() : null;
}
