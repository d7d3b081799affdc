// Turns what napi-derive reports while it compiles crates/node into index.d.ts.

/** One exported item of a report: a JSON object a line. */
type Item = { kind: string; name: string; js_doc: string; def: string };

const heading = `// Generated from crates/node by \`bun run gen\`; do not edit.
`;

/** The declarations for a report, sorted by name so that the order of compilation does not show. */
export function typeDeclarations(report: string): string {
  const items = report
    .split("\n")
    .filter((line) => line !== "")
    .map(readItem);
  const members = new Map<string, string>();
  for (const item of items) {
    if (item.kind === "impl") members.set(item.name, `${members.get(item.name) ?? ""}${item.def}`);
  }
  const declared = items
    .filter((item) => item.kind !== "impl")
    .sort((left, right) => (left.name < right.name ? -1 : 1))
    .map((item) => `${item.js_doc}${declaration(item, members.get(item.name) ?? "")}`);
  return `${heading}\n${declared.join("\n")}`;
}

function readItem(line: string): Item {
  const { kind, name, js_doc: doc, def } = JSON.parse(line);
  return { kind: String(kind), name: String(name), js_doc: String(doc), def: String(def) };
}

function declaration({ kind, name, def }: Item, members: string): string {
  switch (kind) {
    case "struct":
      return `export declare class ${name} {\n${indent([def, members].filter((part) => part !== "").join("\n"))}}\n`;
    case "interface":
      return `export interface ${name} {\n${indent(def)}}\n`;
    case "fn":
      return `export declare ${def.trimEnd()};\n`;
    default:
      throw new Error(
        `crates/node exports ${name} of kind ${kind}: teach packages/native/type-declarations.ts to declare it`,
      );
  }
}

function indent(text: string): string {
  return (
    text
      .split("\n")
      .filter((line) => line.trim() !== "")
      // Comments keep their one space before the star; other lines come with stray ones.
      .map((line) => `  ${line.startsWith(" *") ? line : line.trim()}\n`)
      .join("")
  );
}
