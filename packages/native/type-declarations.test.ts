// The converter on a report as napi-derive writes it.
import { expect, test } from "bun:test";
import { typeDeclarations } from "./type-declarations.ts";

const report = [
  { kind: "impl", name: "Zeta", js_doc: "", def: "/**\n * Ends it.\n */\n close(): void\nget tokens(): number" },
  { kind: "struct", name: "Zeta", js_doc: "/** A handle. */\n", def: "" },
  { kind: "fn", name: "create", js_doc: "", def: "function create(name: string): Promise<Zeta>" },
  { kind: "interface", name: "Alpha", js_doc: "", def: "/** Seconds. */\nlength: number" },
];

test("classes gain their members, items are sorted", () => {
  expect(typeDeclarations(report.map((item) => JSON.stringify(item)).join("\n"))).toBe(
    `// Generated from crates/node by \`bun run gen\`; do not edit.

export interface Alpha {
  /** Seconds. */
  length: number
}

/** A handle. */
export declare class Zeta {
  /**
   * Ends it.
   */
  close(): void
  get tokens(): number
}

export declare function create(name: string): Promise<Zeta>;
`,
  );
});

test("an item of an unknown kind is refused", () => {
  expect(() => typeDeclarations('{"kind":"const","name":"A","js_doc":"","def":"const A: 1"}')).toThrow("kind const");
});
