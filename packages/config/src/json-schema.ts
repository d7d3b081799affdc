// The schema as JSON Schema: `schema.json` for editors, and the map by which flags are coerced and typing errors hinted at.
import { z } from "zod";
import { RunConfig } from "./schema.ts";

export type Node = z.core.JSONSchema.JSONSchema;

/** What a config file may say; `extends` is taken out before the rest is validated. */
function generateJsonSchema(): Node {
  const schema = z.toJSONSchema(RunConfig, { io: "input" });
  const properties = {
    $schema: { type: "string" as const, description: "Where editors find this schema." },
    extends: { type: "string" as const, description: "Preset that this config builds on." },
    ...schema.properties,
  };
  return { title: "Gradus run", ...schema, properties, required: [] };
}

/** The text of packages/config/generated/schema.json. */
export function jsonSchemaText(): string {
  return `${JSON.stringify(generateJsonSchema(), null, 2)}\n`;
}

let root: Node | undefined;

/** The schema's nodes at a config path: several where the schema has alternatives, none where the path is unknown. */
export function schemaNodes(path: readonly PropertyKey[]): Node[] {
  root ??= z.toJSONSchema(RunConfig, { io: "input" });
  let nodes = alternatives(root);
  for (const segment of path) nodes = nodes.flatMap((node) => childNodes(node, segment)).flatMap(alternatives);
  return nodes;
}

/** The keys that may stand at a config path. */
export function knownKeys(path: readonly PropertyKey[]): string[] {
  return schemaNodes(path).flatMap((node) => Object.keys(node.properties ?? {}));
}

function alternatives(node: Node): Node[] {
  return node.anyOf === undefined ? [node] : node.anyOf.flatMap(alternatives);
}

function childNodes(node: Node, segment: PropertyKey): Node[] {
  const known = node.properties?.[String(segment)];
  if (known !== undefined) return typeof known === "boolean" ? [] : [known];
  if (/^\d+$/.test(String(segment))) {
    const items = Array.isArray(node.items) ? node.items[Number(segment)] : node.items;
    const item = node.prefixItems?.[Number(segment)] ?? items;
    return typeof item === "object" ? [item] : [];
  }
  return typeof node.additionalProperties === "object" ? [node.additionalProperties] : [];
}
