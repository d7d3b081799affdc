// `bun run gen`: writes the generated files that are committed. `bun run check` fails when one of them is stale.
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { jsonSchemaText } from "../packages/config/src/index.ts";
import { nativeTypes, nativeTypesPath } from "../packages/native/build.ts";
import { argumentsOf } from "./arguments.ts";

const root = join(import.meta.dir, "..");

/** A generated file and where its text comes from; undefined when the source does not compile. */
const generated: readonly { path: string; text: () => Promise<string | undefined> }[] = [
  { path: join(root, "packages/config/generated/schema.json"), text: async () => jsonSchemaText() },
  { path: nativeTypesPath, text: nativeTypes },
];

/** One line for each committed file that differs from what the sources say now. */
export async function staleGeneratedFiles(): Promise<string[]> {
  const findings: string[] = [];
  for (const { path, text } of generated) {
    const name = path.slice(root.length + 1);
    const expected = await text();
    if (expected === undefined) findings.push(`${name}: its source does not compile`);
    else if (!existsSync(path)) findings.push(`${name} is missing`);
    else if (readFileSync(path, "utf8") !== expected) findings.push(`${name} is not what its source says`);
  }
  return findings;
}

if (import.meta.main) {
  argumentsOf("gen", "usage: bun run gen\nWrites the generated files that are committed.");
  for (const { path, text } of generated) {
    const expected = await text();
    if (expected === undefined) process.exit(1);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(`${path}.tmp`, expected);
    renameSync(`${path}.tmp`, path);
    console.log(`wrote ${path.slice(root.length + 1)}`);
  }
}
