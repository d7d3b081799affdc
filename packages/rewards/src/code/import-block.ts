// The imports that LiveCodeBench puts before every program: models write for judges where these names are there.

/** Modules whose names are all imported, in LiveCodeBench's order: a later one's names win, builtins' near the end. */
const starred = (
  "string re datetime collections heapq bisect copy math random statistics itertools functools operator io sys json " +
  "builtins typing"
).split(" ");
const named = starred.filter((name) => name !== "builtins" && name !== "typing");

const importBlock = [
  ...starred.map((name) => `from ${name} import *`),
  ...named.map((name) => `import ${name}`),
  "sys.setrecursionlimit(50000)",
].join("\n");

const futureLine = /^from __future__ import [^\n]*$/gm;

/**
 * The program behind the import block; `from __future__` must stay the first statement, so it goes before. A function that
 * is asked for must be the program's own: `operator.add` and its like pass no test for a program that is empty.
 */
export function withImportBlock(code: string, entry?: string): string {
  const future = code.match(futureLine) ?? [];
  const forgotten = entry === undefined ? [] : [`globals().pop(${JSON.stringify(entry)}, None)`];
  return [...future, importBlock, ...forgotten, code.replace(futureLine, "")].join("\n");
}
