// The models of the benchmarks: random weights, the same for us and for the peers, written once into the build folder.
// As a program, `bun benchmarks/models.ts MODEL FOLDER` writes one: the memory of a large one is then gone with the process.
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { Policy } from "../packages/sdk/src/index.ts";
import { runCommand } from "../scripts/run-command.ts";
import { shapeConfig } from "../scripts/shapes.ts";
import { type ModelName, shapes } from "./jobs.ts";

/** `T-ending` is T with so many end tokens that responses end by chance, after 40% of 128 tokens in the mean. */
export type FolderName = ModelName | "T-ending";

const endTokens = 9;

const root = join(import.meta.dir, "..");
const folderOf = (name: string) => join(root, "build", "bench", "models", name);

/** The folder of a model; it is made where it is missing. */
export async function modelFolder(name: FolderName): Promise<string> {
  const folder = folderOf(name);
  if (!existsSync(folder)) await run([process.execPath, import.meta.path, name, folder]);
  return folder;
}

/** The model as llama.cpp's file; the peers' Python converts it. */
export async function ggufFile(name: ModelName, dtype: "bf16" | "q8_0", python: string): Promise<string> {
  const file = folderOf(`${name}-${dtype}.gguf`);
  const script = join(import.meta.dir, "peers", "to_gguf.py");
  if (!existsSync(file)) await run([python, script, await modelFolder(name), dtype, file]);
  return file;
}

async function run(command: readonly string[]): Promise<void> {
  const { exitCode, output } = await runCommand(command, { cwd: root, show: false });
  if (exitCode !== 0) throw new Error(`${command.slice(1, 3).join(" ")}: ${output.trimEnd().split("\n").at(-1)}`);
}

/** A tokenizer of whole words, one token each, so that texts and token ids are the same thing to everybody. */
function wordTokenizer(vocab: number): Record<string, unknown> {
  const words = ["<pad>", "<eos>", ...Array.from({ length: vocab - 2 }, (_, index) => `w${index + 2}`)];
  const special = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
  return {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: words.slice(0, 2).map((content, id) => ({ id, content, ...special })),
    normalizer: null,
    pre_tokenizer: { type: "WhitespaceSplit" },
    post_processor: null,
    decoder: null,
    model: { type: "WordLevel", vocab: Object.fromEntries(words.map((word, id) => [word, id])), unk_token: "<pad>" },
  };
}

/** Writes a model beside `folder` and renames it: an interrupted run leaves nothing that looks whole. */
async function write(name: FolderName, folder: string): Promise<void> {
  const model = name === "T-ending" ? "T" : name;
  const config = shapeConfig(shapes[model]);
  const vocab = Number(config.vocab_size);
  const ends =
    name === "T-ending" ? [1, ...Array.from({ length: endTokens - 1 }, (_, index) => vocab - 1 - index)] : null;
  const fresh = `${folder}.${process.pid}`;
  mkdirSync(dirname(folder), { recursive: true });
  try {
    const policy = await Policy.create({ config: { ...config, eos_token_id: ends, pad_token_id: 0 }, seed: 1 });
    await policy.save(fresh);
    await policy.close();
    if (model === "T") {
      writeFileSync(join(fresh, "tokenizer.json"), JSON.stringify(wordTokenizer(vocab)));
      // The engine ends a response at the tokenizer's eos token too: T, whose responses have exact lengths, names none.
      const end = name === "T-ending" ? { eos_token: "<eos>" } : {};
      const names = { tokenizer_class: "PreTrainedTokenizerFast", pad_token: "<pad>", ...end };
      writeFileSync(join(fresh, "tokenizer_config.json"), JSON.stringify(names));
    }
    renameSync(fresh, folder);
  } finally {
    rmSync(fresh, { recursive: true, force: true });
  }
}

if (import.meta.main) {
  const [name = "", folder = ""] = process.argv.slice(2);
  if ((name !== "T" && name !== "S" && name !== "M" && name !== "T-ending") || folder === "") {
    console.error("models: expected T, S, M or T-ending, and the folder to write");
    process.exit(2);
  }
  await write(name, folder);
}
