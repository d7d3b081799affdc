// `bun run train` over a scripted policy, for tests that need a process: signals, kills, exit codes.
// GRADUS_SCRIPT_MS makes every rollout take that long.
import { processEffects } from "../process-effects.ts";
import { trainCommand } from "../train-command.ts";
import { scriptedPolicies } from "./scripted-policy.ts";

const pause = Number(process.env.GRADUS_SCRIPT_MS ?? "0");
const onMove = (move: string): Promise<void> | void => (move === "rollout" && pause > 0 ? Bun.sleep(pause) : undefined);
process.exitCode = await trainCommand(process.argv.slice(2), processEffects(scriptedPolicies({ onMove })));
