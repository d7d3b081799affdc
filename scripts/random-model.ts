// `bun scripts/random-model.ts --shape NAME [--tokenizer FILE] --out FOLDER [--seed N]`: a Hugging Face folder of random weights,
// to try recipes at a real size without downloading a model.
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { GradusError, Policy } from "../packages/sdk/src/index.ts";
import { isShapeName, shapeConfig, shapeNames } from "./shapes.ts";

const usage = `usage: bun scripts/random-model.ts --shape ${shapeNames.join("|")} [--tokenizer tokenizer.json[.gz]] --out FOLDER [--seed 1]`;

/** Prints one line and ends with exit code 2: the command was wrong, nothing was done. */
function refuse(line: string): never {
  console.error(`random-model: ${line}`);
  process.exit(2);
}

/** The flags, checked. */
function readFlags() {
  try {
    const { values } = parseArgs({
      options: {
        shape: { type: "string" },
        tokenizer: { type: "string" },
        out: { type: "string" },
        seed: { type: "string", default: "1" },
        help: { type: "boolean", default: false },
      },
    });
    if (values.help) {
      console.log(usage);
      process.exit(0);
    }
    return values;
  } catch (error) {
    return refuse(`${error instanceof Error ? error.message : String(error)}; ${usage}`);
  }
}

const flags = readFlags();
if (flags.shape === undefined || !isShapeName(flags.shape)) {
  refuse(`--shape ${flags.shape ?? ""} is not one of ${shapeNames.join(", ")}`);
}
if (flags.out === undefined) refuse(`--out is missing: name the folder to write; ${usage}`);
if (existsSync(flags.out)) refuse(`${flags.out} exists; choose a new folder or remove it`);
if (flags.tokenizer !== undefined && !existsSync(flags.tokenizer))
  refuse(`there is no tokenizer file ${flags.tokenizer}`);
if (!/^\d+$/.test(flags.seed)) refuse(`--seed ${flags.seed} is not a whole number`);

// The engine reads plain tokenizer.json files; a compressed one is unpacked beside nothing of the user's.
const scratch = mkdtempSync(join(tmpdir(), "gradus-random-model-"));
let exitCode = 0;
try {
  let tokenizer = flags.tokenizer;
  if (tokenizer?.endsWith(".gz")) {
    const unpacked = join(scratch, "tokenizer.json");
    writeFileSync(unpacked, Bun.gunzipSync(readFileSync(tokenizer)));
    tokenizer = unpacked;
  }
  const config = shapeConfig(flags.shape);
  const policy = await Policy.create({
    config,
    seed: BigInt(flags.seed),
    ...(tokenizer === undefined ? {} : { tokenizer }),
  });
  await policy.save(flags.out);
  const { parameters } = policy.info;
  await policy.close();
  console.log(
    `wrote ${flags.out}: ${flags.shape}, ${(parameters / 1e6).toFixed(1)} M random parameters, seed ${flags.seed}`,
  );
} catch (error) {
  if (!(error instanceof GradusError)) throw error;
  console.error(`random-model: ${error.message}`);
  exitCode = 1;
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
process.exit(exitCode);
