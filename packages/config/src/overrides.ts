// Dotted flags (`--rl.stages.0.maxResponseLength 8192`) into config trees, coerced by the schema's own types.
import { ConfigError } from "./config-error.ts";
import { knownKeys, type Node, schemaNodes } from "./json-schema.ts";
import { nameHint } from "./nearest-name.ts";
import { dropAlternative } from "./policy-layers.ts";
import { isTree, type Tree } from "./tree.ts";

/** True when `path` names something of the schema that can be set from text. */
export function isConfigPath(path: string): boolean {
  return schemaNodes(path.split(".")).length > 0;
}

/** True when a bare flag may stand for `true`. */
export function isBooleanPath(path: string): boolean {
  return schemaNodes(path.split(".")).some((node) => node.type === "boolean" && node.const !== false);
}

/**
 * `tree` with one dotted override applied.
 * @param path for example `rl.stages.0.temperature`; an index must name an existing stage.
 * @param text the flag's value as typed; objects and arrays are given as JSON.
 */
export function applyOverride(tree: Tree, path: string, text: string): Tree {
  const segments = path.split(".");
  checkSegments(segments, path);
  const written = coerce(text, schemaNodes(segments), path);
  const set = (value: unknown, at: number): unknown => {
    const segment = segments[at];
    if (segment === undefined) return written;
    if (/^\d+$/.test(segment) && schemaNodes(segments.slice(0, at)).some((node) => node.type === "array")) {
      const items: unknown[] = Array.isArray(value) ? value : [];
      const index = Number(segment);
      if (index >= items.length) {
        const known = items.length === 0 ? "it is empty" : `it has 0 to ${items.length - 1}`;
        throw new ConfigError(`--${path}: ${segments.slice(0, at).join(".")} has no item ${index}; ${known}`);
      }
      return items.map((item, position) => (position === index ? set(item, at + 1) : item));
    }
    const below = isTree(value) ? value : {};
    return { ...below, [segment]: set(below[segment], at + 1) };
  };
  const alone = segments.reduceRight<unknown>((value, segment) => ({ [segment]: value }), written);
  const changed = set(isTree(alone) ? dropAlternative(tree, alone) : tree, 0);
  return isTree(changed) ? changed : tree;
}

function checkSegments(segments: readonly string[], path: string): void {
  for (let length = 1; length <= segments.length; length++) {
    if (schemaNodes(segments.slice(0, length)).length > 0) continue;
    const parent = segments.slice(0, length - 1);
    const key = segments[length - 1] ?? "";
    const place = parent.length === 0 ? "" : ` in ${parent.join(".")}`;
    throw new ConfigError(`--${path}: unknown key "${key}"${place}${nameHint(key, knownKeys(parent))}`);
  }
}

function coerce(text: string, nodes: readonly Node[], path: string): unknown {
  const types = nodes.flatMap((node) => node.type ?? []);
  if (text === "null" && types.includes("null")) return null;
  if ((text === "true" || text === "false") && types.includes("boolean")) return text === "true";
  if (text.trim() !== "" && (types.includes("number") || types.includes("integer"))) {
    const value = Number(text.replaceAll("_", ""));
    if (Number.isFinite(value)) return value;
  }
  const isJson = types.includes("object") && text.trimStart().startsWith("{");
  if (types.includes("string") && !isJson) return text;
  if (types.includes("object") || types.includes("array") || types.length === 0) {
    try {
      return JSON.parse(text);
    } catch {
      if (types.length === 0) return text;
    }
  }
  throw new ConfigError(`--${path}: expected ${expected(nodes)}, got "${text}"`);
}

function expected(nodes: readonly Node[]): string {
  const names = nodes.flatMap((node) => {
    if (node.const !== undefined) return [JSON.stringify(node.const)];
    if (node.type === "array" || node.type === "object") return [`${node.type} as JSON`];
    return node.type ?? [];
  });
  return [...new Set(names)].join(" or ");
}
