// A value as a person reads it in a verdict's detail: nearly Python's repr, cut short.
import type { Tagged } from "../sandbox/tagged.ts";

/** At most about `lengthMax` characters; what is left out is an ellipsis. */
export function shortRepr(value: Tagged, lengthMax = 60): string {
  const text = { written: "", left: lengthMax };
  write(value, text);
  return text.left < 0 ? `${text.written.slice(0, lengthMax)}…` : text.written;
}

type Text = { written: string; left: number };

function put(text: Text, piece: string): void {
  text.written += piece.slice(0, Math.max(0, text.left) + 1);
  text.left -= piece.length;
}

function write(value: Tagged, text: Text): void {
  if (text.left < 0) return;
  if (value === null) put(text, "None");
  else if (typeof value === "boolean") put(text, value ? "True" : "False");
  else if (typeof value === "string") put(text, `'${JSON.stringify(value.slice(0, text.left + 1)).slice(1, -1)}'`);
  else if (typeof value === "number") put(text, String(value));
  else if (Array.isArray(value)) writeItems("[", value, "]", text);
  else if ("i" in value) put(text, value.i);
  else if ("f" in value) put(text, value.f);
  else if ("t" in value) writeItems("(", value.t, value.t.length === 1 ? ",)" : ")", text);
  else if ("s" in value)
    writeItems(value.s.length === 0 ? "set(" : "{", value.s, value.s.length === 0 ? ")" : "}", text);
  else if ("fs" in value) writeItems("frozenset({", value.fs, "})", text);
  else if ("c" in value) put(text, `complex(${value.c.join(", ")})`);
  else if ("b" in value) put(text, `bytes.fromhex('${value.b}')`);
  else if ("o" in value) put(text, `a ${value.o}`);
  else if ("d" in value) writePairs(value.d, text);
}

function writeItems(open: string, items: readonly Tagged[], close: string, text: Text): void {
  put(text, open);
  for (const [index, item] of items.entries()) {
    if (text.left < 0) return;
    if (index > 0) put(text, ", ");
    write(item, text);
  }
  put(text, close);
}

function writePairs(pairs: readonly (readonly [Tagged, Tagged])[], text: Text): void {
  put(text, "{");
  for (const [index, [key, value]] of pairs.entries()) {
    if (text.left < 0) return;
    if (index > 0) put(text, ", ");
    write(key, text);
    put(text, ": ");
    write(value, text);
  }
  put(text, "}");
}
