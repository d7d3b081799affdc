// `bun run generate`: the process, its arguments and its exit code.
import { generateCommand } from "./generate-command.ts";
import { loadSpeakingPolicy } from "./sdk-policies.ts";

process.exitCode = await generateCommand(process.argv.slice(2), {
  cwd: process.cwd(),
  load: loadSpeakingPolicy,
  writeOut: (text) => void process.stdout.write(text),
  writeError: (text) => void process.stderr.write(text),
});
