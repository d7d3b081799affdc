// kernels/README.md tells of every kernel where it ran: a row for each in the families' tables, and for nothing else.
import { expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const kernels = join(import.meta.dir, "..", "kernels");

/** The kernels of `#define GRADUS_…_KERNELS(X)` of every family that kernels.h includes. */
function tabled(): string[] {
  const includes = readFileSync(join(kernels, "kernels.h"), "utf8").matchAll(/#include "(\w+\/\w+\.h)"/g);
  return [...includes].flatMap(([, header = ""]) => {
    const text = readFileSync(join(kernels, header), "utf8");
    return [...text.matchAll(/\bX\((\w+),/g)].map(([, name = ""]) => name);
  });
}

test("every kernel has one row in kernels/README.md", () => {
  const table = readFileSync(join(kernels, "README.md"), "utf8").split("| kernel | arch |")[1] ?? "";
  const rows = [...table.matchAll(/^\| (\w+) \|/gm)].map(([, name = ""]) => name);
  expect(rows.length).toBeGreaterThan(50);
  expect(rows.toSorted()).toEqual(tabled().toSorted());
});

test("every family is in kernels.h", () => {
  const text = readFileSync(join(kernels, "kernels.h"), "utf8");
  const families = readdirSync(kernels, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && !["common", "sim"].includes(entry.name))
    .map(({ name }) => name);
  expect(families.filter((name) => !text.includes(`"${name}/${name}.h"`))).toEqual([]);
});
