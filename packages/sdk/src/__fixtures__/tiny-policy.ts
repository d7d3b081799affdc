// Tiny policies for tests: random weights, and a tokenizer whose tokens are single bytes, so that UTF-8 is cut between tokens.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type CreateOptions, Policy } from "../index.ts";

export const endToken = 256;

/** The fields of a config.json of some thousand parameters. */
export const tinyConfig = {
  architectures: ["Qwen3ForCausalLM"],
  hidden_size: 32,
  num_hidden_layers: 2,
  num_attention_heads: 2,
  num_key_value_heads: 1,
  head_dim: 16,
  intermediate_size: 48,
  vocab_size: 260,
  max_position_embeddings: 128,
  tie_word_embeddings: true,
  initializer_range: 0.2,
  eos_token_id: endToken,
};

const folders: string[] = [];

/** For `afterAll`, which runs also when a test has failed. */
export function removeTemporaryFolders(): void {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
}

/** An empty folder; the test file that asks for it also calls `removeTemporaryFolders` in the end. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "gradus-sdk-"));
  folders.push(folder);
  return folder;
}

export const beginToken = 259;

type TokenizerOptions = {
  /** The tokenizer puts `<begin>` before a text, as Llama's does. */
  readonly addsBegin?: boolean;
  readonly template?: string;
};

/** Each message behind its role; the assistant's turn is opened. */
const plainTemplate =
  "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}";

/** A folder with a byte tokenizer and a chat template. */
export function tokenizerFolder({ addsBegin = false, template = plainTemplate }: TokenizerOptions = {}): string {
  const folder = join(temporaryFolder(), "tokenizer");
  mkdirSync(folder);
  const special = (content: string, id: number) => ({
    id,
    content,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: true,
  });
  const byteLevel = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: false };
  const begin = addsBegin ? [special("<begin>", beginToken)] : [];
  const tokenizer = {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: [special("<end>", endToken), special("<user>", 257), special("<assistant>", 258), ...begin],
    normalizer: null,
    pre_tokenizer: byteLevel,
    post_processor: addsBegin ? beginProcessor : null,
    decoder: byteLevel,
    model: { type: "BPE", vocab: byteVocabulary(), merges: [] },
  };
  writeFileSync(join(folder, "tokenizer.json"), JSON.stringify(tokenizer));
  writeFileSync(join(folder, "tokenizer_config.json"), JSON.stringify({ eos_token: "<end>" }));
  writeFileSync(join(folder, "chat_template.jinja"), template);
  return folder;
}

const beginProcessor = {
  type: "TemplateProcessing",
  single: [{ SpecialToken: { id: "<begin>", type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }],
  pair: [],
  special_tokens: { "<begin>": { id: "<begin>", ids: [beginToken], tokens: ["<begin>"] } },
};

/** GPT-2's byte alphabet: byte b has id b. */
function byteVocabulary(): Record<string, number> {
  const printable = (byte: number) => (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
  let shifted = 256;
  const entries = Array.from({ length: 256 }, (_, byte) => [
    String.fromCodePoint(printable(byte) ? byte : shifted++),
    byte,
  ]);
  return Object.fromEntries(entries);
}

/** A policy of random weights; ids only unless a tokenizer is given. */
export function tinyPolicy(options: Partial<CreateOptions> = {}): Promise<Policy> {
  return Policy.create({ config: tinyConfig, seed: 1, device: "cpu", threads: 1, ...options });
}

/** The code and message of the error that `call` fails with. */
export async function failure(call: () => unknown): Promise<{ name: string; code: unknown; message: string }> {
  try {
    await call();
  } catch (error) {
    if (error instanceof Error)
      return { name: error.name, code: "code" in error ? error.code : undefined, message: error.message };
    throw error;
  }
  throw new Error("the call did not fail");
}
