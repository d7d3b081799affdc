// `bun run fuzz`: every fuzz target for a minute. A target is a file `*.fuzz.ts` that exports `fuzz(seed, goesOn)`: it tries
// inputs while `goesOn(inputs tried)`, gives their number (or a promise of it), or throws with the input that failed; a text
// says why it cannot run here. Its corpus lies beside it.
import { join } from "node:path";
import { parseArgs } from "node:util";
import { z } from "zod";

const root = join(import.meta.dir, "..");
const usage = `usage: bun run fuzz [--seconds N] [--seed N] [--only PATTERN]
Feeds mutated inputs to every parser of untrusted text, each for --seconds (60). The same seed tries the same inputs.`;

const targetSchema = z.object({
  fuzz: z.custom<Fuzz>((value) => typeof value === "function"),
});
type Fuzz = (seed: number, goesOn: (inputs: number) => boolean) => number | string | Promise<number | string>;

function refuse(line: string): never {
  console.error(`fuzz: ${line}`);
  process.exit(2);
}

function flags() {
  try {
    const { values } = parseArgs({
      options: {
        seconds: { type: "string", default: "60" },
        seed: { type: "string", default: String(Date.now() % 1_000_000) },
        only: { type: "string", default: "" },
        help: { type: "boolean", default: false },
      },
    });
    const [seconds, seed] = [Number(values.seconds), Number(values.seed)];
    if (!(seconds > 0)) refuse(`--seconds ${values.seconds}: expected a number above 0`);
    if (!Number.isInteger(seed)) refuse(`--seed ${values.seed}: expected a whole number`);
    return { seconds, seed, only: new RegExp(values.only), help: values.help };
  } catch (error) {
    return refuse(`${error instanceof Error ? error.message : String(error)}\n${usage}`);
  }
}

const { seconds, seed, only, help } = flags();
if (help) {
  console.log(usage);
  process.exit(0);
}
const files = [...new Bun.Glob("{packages,apps}/*/fuzz/*.fuzz.ts").scanSync(root)]
  .filter((file) => only.test(file))
  .sort();
if (files.length === 0) refuse("there is no such target");
let failed = 0;
for (const file of files) {
  const { fuzz } = targetSchema.parse(await import(join(root, file)));
  const end = performance.now() + 1000 * seconds;
  try {
    const tried = await fuzz(seed, () => performance.now() < end);
    if (typeof tried === "string") console.log(`${file}: not run: ${tried}`);
    else console.log(`${file}: ${tried} inputs in ${seconds} s, seed ${seed}: nothing found`);
  } catch (error) {
    failed++;
    console.log(`${file}: seed ${seed}: ${error instanceof Error ? error.message : String(error)}`);
  }
}
console.log(`${files.length - failed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
