// What is compiled under kernels/: the translation units, and for each the hash of all that it includes, so that nothing is built twice.
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";

/** One file that a compiler takes: `name` is its path below kernels/ without the ending. */
export type Unit = {
  name: string;
  path: string;
  /** Changes with the file and with every header that it includes. */
  hash: string;
  /** A kernel compiles for the GPU and for the simulator; the rest is the simulator itself, and tests with their planted faults. */
  kind: "kernel" | "simulator" | "tests";
  /** Has `// arch: sm_90a` in its first lines: instructions that no other chip has. */
  isHopperOnly: boolean;
};

/** Every unit below `folder` (kernels/), sorted by name. */
export function kernelUnits(folder: string): Unit[] {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.(cu|cpp)$/.test(entry.name))
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)));
  return files.sort().map((file) => {
    const path = join(folder, file);
    const first = readFileSync(path, "utf8").split("\n", 5).join("\n");
    const isTest = file.endsWith("tests.cpp") || (file.startsWith("sim/") && file.endsWith(".cu"));
    const kind = isTest ? "tests" : file.startsWith("sim/") ? "simulator" : "kernel";
    return {
      name: file.replace(/\.\w+$/, ""),
      path,
      hash: hashOfClosure(folder, path),
      kind,
      isHopperOnly: /^\/\/ arch: sm_90a$/m.test(first),
    };
  });
}

/** The hash of a list of texts in order. */
export function hashOf(texts: readonly string[]): string {
  const hash = createHash("sha256");
  for (const text of texts) hash.update(`${text.length}:`).update(text);
  return hash.digest("hex");
}

/** The hash of a file with every file that it includes by `#include "…"`, from `folder` or from beside itself. */
function hashOfClosure(folder: string, path: string): string {
  const texts = new Map<string, string>();
  const visit = (file: string) => {
    if (texts.has(file)) return;
    const text = readFileSync(file, "utf8");
    texts.set(file, text);
    for (const match of text.matchAll(/^\s*#\s*include\s+"([^"]+)"/gm)) {
      const named = match[1] ?? "";
      const found = [join(folder, named), join(dirname(file), named)].find((candidate) => existsSync(candidate));
      if (found !== undefined) visit(found);
    }
  };
  visit(path);
  return hashOf([...texts].flatMap(([file, text]) => [relative(folder, file), text]));
}
