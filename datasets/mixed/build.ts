// Writes the mixed data set beside itself and prints its manifest: `bun datasets/mixed/build.ts`. Deterministic.
import { createHash } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { mixedRows } from "./mixed.ts";

export const endToken = "<|im_end|>";
const special = ["<|pad|>", endToken, "<|unknown|>"];
const characters = ["\n", ...Array.from({ length: 95 }, (_, code) => String.fromCodePoint(32 + code))];

/** One token a character of printable ASCII. */
function tokenizerText(): string {
  const vocab = Object.fromEntries([...special, ...characters].map((token, id) => [token, id]));
  const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
  const tokenizer = {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: special.map((content, id) => ({ id, content, ...flags })),
    normalizer: null,
    pre_tokenizer: { type: "Split", pattern: { Regex: "[\\s\\S]" }, behavior: "Isolated", invert: false },
    post_processor: null,
    decoder: { type: "Fuse" },
    model: { type: "WordLevel", vocab, unk_token: special[2] },
  };
  return `${JSON.stringify(tokenizer, undefined, 2)}\n`;
}

/** How often SFT sees each row in an epoch, each of which leaves a checkpoint. */
const sftRepeats = 24;

/** File name → text of every generated file, the manifest apart. */
export function buildFiles(): Map<string, string> {
  const rows = mixedRows();
  const repeated = Array.from({ length: sftRepeats }, (_, repeat) =>
    rows.map(({ id, problem, solution, answer }) => ({ id: `${id}-${repeat}`, problem, solution, answer })),
  );
  const text = (lines: readonly object[]) => lines.map((line) => `${JSON.stringify(line)}\n`).join("");
  return new Map([
    ["rows.jsonl", text(rows)],
    ["sft.jsonl", text(repeated.flat())],
    ["tokenizer.json", tokenizerText()],
  ]);
}

/** Rows, bytes and hash of every file. */
export function manifestOf(files: ReadonlyMap<string, string>) {
  const entries = [...files].map(([name, text]) => {
    const rows = name.endsWith(".jsonl") ? text.split("\n").length - 1 : 1;
    const sha256 = createHash("sha256").update(text).digest("hex");
    return [name, { rows, bytes: Buffer.byteLength(text), sha256 }] as const;
  });
  return { name: "mixed", licence: "CC0-1.0", files: Object.fromEntries(entries) };
}

if (import.meta.main) {
  const files = buildFiles();
  const manifest = `${JSON.stringify(manifestOf(files), undefined, 2)}\n`;
  for (const [name, text] of files.set("manifest.json", manifest)) writeFileSync(join(import.meta.dir, name), text);
  console.log(manifest);
}
