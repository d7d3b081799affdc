// `bun run judge`: the process, its arguments and its exit code.
import { readFile } from "node:fs/promises";
import { startSandbox } from "@gradus/rewards";
import { judgeCommand } from "./judge-command.ts";

process.exitCode = await judgeCommand(process.argv.slice(2), {
  readText: (path) => readFile(path, "utf8"),
  writeOut: (text) => void process.stdout.write(text),
  writeError: (text) => void process.stderr.write(text),
  now: () => performance.now(),
  startSandbox,
});
