// Writes the sums data set beside itself and prints its manifest: `bun datasets/sums/build.ts`. Deterministic.
import { createHash } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { drawProblem, randomSource, type SumRow } from "./sums.ts";
import { tokenizerJson } from "./tokenizer.ts";

const seed = 1;
/** Every split has its own stream; `terms` are drawn evenly from the list; `worked` of 100 solutions show the work. */
const splits = [
  { name: "eval", stream: 0, rows: 512, terms: [3, 4, 5, 6, 7], worked: 50 },
  { name: "sft", stream: 1, rows: 16_000, terms: [3, 4, 5, 6, 7], worked: 50 },
  { name: "rl", stream: 2, rows: 4000, terms: [3, 4, 5, 6, 7], worked: 50 },
] as const;

export type Manifest = {
  name: string;
  seed: number;
  licence: string;
  files: Record<string, { rows: number; bytes: number; sha256: string }>;
};

/** File name → text of every generated file, the manifest apart. No prompt is in two files, or twice in one. */
export function buildFiles(): Map<string, string> {
  const seen = new Set<string>();
  const files = new Map<string, string>();
  for (const split of splits) {
    const random = randomSource(seed, split.stream);
    const rows: SumRow[] = [];
    while (rows.length < split.rows) {
      const terms = split.terms[random(split.terms.length)] ?? 3;
      const { prompt, steps, answer } = drawProblem(random, terms);
      const worked = random(100) < split.worked;
      if (seen.has(prompt)) continue;
      seen.add(prompt);
      // The teacher is of mixed quality: it shows its work or jumps to the answer.
      rows.push({ prompt, answer, solution: worked ? `${steps.join(";")} ${answer}` : answer });
    }
    const compact = split.name === "sft" ? rows : rows.map(({ prompt, answer }) => ({ prompt, answer }));
    files.set(`${split.name}.jsonl`, `${compact.map((row) => JSON.stringify(row)).join("\n")}\n`);
  }
  return files.set("tokenizer.json", `${JSON.stringify(tokenizerJson(), undefined, 2)}\n`);
}

/** Rows, bytes and hash of every file. */
export function manifestOf(files: ReadonlyMap<string, string>): Manifest {
  const entries = [...files].map(([name, text]) => {
    const rows = name.endsWith(".jsonl") ? text.split("\n").length - 1 : 1;
    const sha256 = createHash("sha256").update(text).digest("hex");
    return [name, { rows, bytes: Buffer.byteLength(text), sha256 }] as const;
  });
  return { name: "sums", seed, licence: "CC0-1.0", files: Object.fromEntries(entries) };
}

if (import.meta.main) {
  const files = buildFiles();
  const manifest = `${JSON.stringify(manifestOf(files), undefined, 2)}\n`;
  for (const [name, text] of files.set("manifest.json", manifest)) writeFileSync(join(import.meta.dir, name), text);
  console.log(manifest);
}
