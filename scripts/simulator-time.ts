// `bun scripts/simulator-time.ts`: runs every test that needs the simulator and tells how long each suite takes; all of them are to end
// within five minutes on two cores. After `bun run setup`, whose native engine the last suite loads. `bun run test` runs the same tests.
import { join } from "node:path";
import { argumentsOf } from "./arguments.ts";
import { buildSimulator } from "./kernel-compile.ts";
import { runCommand } from "./run-command.ts";

const root = join(import.meta.dir, "..");
const secondsMax = 300;
const cargo = "cargo test --release --package gradus-cuda";
const suites: readonly (readonly [name: string, command: string])[] = [
  ["crates/cuda/tests", `${cargo} --quiet`],
  ["kernels/sim", `${process.execPath} test --timeout 600000 kernels/sim`],
  ["packages/sdk on cuda-sim", `${process.execPath} test --timeout 600000 packages/sdk/src/cuda-sim.test.ts`],
];

argumentsOf("simulator-time", "usage: bun scripts/simulator-time.ts\nRuns the simulator's tests and tells their time.");
await buildSimulator(root);
// What compiles is not the simulator's time.
await runCommand(`${cargo} --no-run`.split(" "), { cwd: root, show: false });
let sum = 0;
let failed = false;
for (const [name, command] of suites) {
  const began = performance.now();
  const { exitCode, output } = await runCommand(command.split(" "), { cwd: root, show: false });
  const seconds = (performance.now() - began) / 1000;
  sum += seconds;
  failed ||= exitCode !== 0;
  console.log(`${exitCode === 0 ? "ok  " : "FAIL"} ${name} (${seconds.toFixed(1)} s)`);
  if (exitCode !== 0) console.log(output.trimEnd());
}
console.log(`${sum.toFixed(1)} s in all, at most ${secondsMax}`);
process.exit(failed || sum > secondsMax ? 1 : 0);
