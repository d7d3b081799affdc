// Config files: extends, paths, formats; and every recipe file in the repository.
import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { jsonSchemaText } from "./json-schema.ts";
import { type ConfigFiles, loadConfigFile } from "./load.ts";
import { resolveRun } from "./resolve.ts";

const folder = mkdtempSync(join(tmpdir(), "gradus-config-"));
afterAll(() => rmSync(folder, { recursive: true }));

const files: ConfigFiles = {
  readText: (path) => Bun.file(path).text(),
  importModule: (path) => import(path),
  parseJsonc: Bun.JSONC.parse,
};

function write(name: string, text: string): string {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
}

test("a .jsonc file builds on a preset and names files from its own folder", async () => {
  const path = write(
    "run.jsonc",
    `{ // two stages\n "extends": "tiny", "seed": 5, "data": { "rl": "rows.jsonl" }, "reward": "./r.ts#f", }`,
  );
  const run = resolveRun(await loadConfigFile(path, files), path);
  expect(run).toMatchObject({ name: "tiny", seed: 5, reward: join(folder, "r.ts#f") });
  expect(run.data.rl).toBe(join(folder, "rows.jsonl"));
  expect(run.data.sft).toBe(resolve(import.meta.dirname, "../../..", "datasets/sums/sft.jsonl"));
});

test("rewards name files from the config's folder too, wherever they stand, and replace the preset's", async () => {
  const sum = `{ "sum": [{ "reward": "code", "weight": 1 }, { "reward": "./r.ts#short", "weight": 0.1 }] }`;
  const path = write("mixed.jsonc", `{ "extends": "tiny", "reward": { "bySource": { "math": "math", "*": ${sum} } } }`);
  const run = resolveRun(await loadConfigFile(path, files), path);
  const short = { reward: join(folder, "r.ts#short"), weight: 0.1 };
  expect(run.reward).toEqual({ bySource: { math: "math", "*": { sum: [{ reward: "code", weight: 1 }, short] } } });
});

test("a .ts file may use defineConfig and preset", async () => {
  const source = resolve(import.meta.dirname, "index.ts");
  const path = write(
    "gradus.config.ts",
    `import { defineConfig, preset } from ${JSON.stringify(source)};
export default defineConfig({ extends: preset("real-0.5b"), policy: { folder: "model" }, data: { sft: "a", rl: "a" } });`,
  );
  const run = resolveRun(await loadConfigFile(path, files), path);
  expect(run.policy.folder).toBe(join(folder, "model"));
  expect(run.rl !== false && run.rl.stages[0]?.overlongFiltering).toBe("off");
});

test("a file that cannot be read is refused by name", async () => {
  const refusals: [string, RegExp][] = [
    [join(folder, "missing.jsonc"), /^cannot read the config \S+missing\.jsonc; check the path$/],
    [write("broken.jsonc", `{ "seed": }`), /broken\.jsonc: JSONC Parse error/],
    [write("empty.ts", "export const other = 1;"), /empty\.ts: expected `export default defineConfig/],
    [write("typo.jsonc", `{ "extends": "tyni" }`), /unknown preset "tyni" \(did you mean "tiny"\?\)/],
  ];
  for (const [path, message] of refusals) await expect(loadConfigFile(path, files)).rejects.toThrow(message);
});

test("every recipe file in the repository is a valid run", async () => {
  const recipes = resolve(import.meta.dirname, "../../../apps/train/recipes");
  const names = readdirSync(recipes).filter((name) => /\.(jsonc|ts)$/.test(name));
  expect(names.length).toBeGreaterThan(0);
  for (const name of names) {
    const path = join(recipes, name);
    resolveRun(await loadConfigFile(path, files), path);
  }
});

test("the committed schema.json is what the schema says", async () => {
  expect(await Bun.file(resolve(import.meta.dirname, "../generated/schema.json")).text()).toBe(jsonSchemaText());
});
