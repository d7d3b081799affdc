// `bun run train`: the process, its arguments and its exit code.
import { processEffects } from "./process-effects.ts";
import { sdkPolicies } from "./sdk-policies.ts";
import { trainCommand } from "./train-command.ts";

process.exitCode = await trainCommand(process.argv.slice(2), processEffects(sdkPolicies));
