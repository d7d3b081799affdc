// Reads config files (`gradus.config.ts` or .jsonc) into layers: `extends` applied, relative paths made absolute.
import { dirname } from "node:path";
import { absolutePaths } from "./absolute-paths.ts";
import { ConfigError } from "./config-error.ts";
import { layOver } from "./policy-layers.ts";
import { presetTree } from "./presets/index.ts";
import { isTree, type Tree } from "./tree.ts";

/** The side effects of loading, given by the app. */
export type ConfigFiles = {
  readText(path: string): Promise<string>;
  importModule(path: string): Promise<unknown>;
  parseJsonc(text: string): unknown;
};

/**
 * The layer that a config file describes, `extends` included.
 * @param path absolute; .ts, .js, .mjs modules (default export or `config`), .json and .jsonc.
 */
export async function loadConfigFile(path: string, files: ConfigFiles): Promise<Tree> {
  const content = /\.[mc]?[jt]s$/.test(path) ? await readModule(path, files) : await readJsonc(path, files);
  if (!isTree(content)) throw new ConfigError(`${path}: expected an object with the run's fields`);
  return applyExtends(absolutePaths(content, dirname(path)), path);
}

function applyExtends(tree: Tree, place: string): Tree {
  const { extends: base, $schema: _editorsOnly, ...rest } = tree;
  if (base === undefined) return rest;
  if (typeof base === "string") return layOver(presetTree(base), rest);
  if (isTree(base)) return layOver(applyExtends(base, place), rest);
  throw new ConfigError(`${place}: extends: expected a preset's name, got ${JSON.stringify(base)}`);
}

async function readModule(path: string, files: ConfigFiles): Promise<unknown> {
  let module: unknown;
  try {
    module = await files.importModule(path);
  } catch (error) {
    throw new ConfigError(`${path}: cannot be loaded: ${oneLine(error)}`, { cause: error });
  }
  if (!isTree(module)) throw new ConfigError(`${path}: not a module`);
  const config = module.default ?? module.config;
  if (config === undefined) throw new ConfigError(`${path}: expected \`export default defineConfig({ … })\``);
  return config;
}

async function readJsonc(path: string, files: ConfigFiles): Promise<unknown> {
  let text: string;
  try {
    text = await files.readText(path);
  } catch (cause) {
    throw new ConfigError(`cannot read the config ${path}; check the path`, { cause });
  }
  try {
    return files.parseJsonc(text);
  } catch (error) {
    throw new ConfigError(`${path}: ${oneLine(error)}`, { cause: error });
  }
}

function oneLine(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split("\n")[0] ?? "";
}
