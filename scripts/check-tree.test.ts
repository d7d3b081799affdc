// The README's tree must name what is there, and only that.
import { expect, test } from "bun:test";
import { treeViolations } from "./check-tree.ts";

const readme = "# x\n```tree\ncrates/      engine\n  cpu/       ops\nscripts/     verbs\n```\n";

test("a tree that matches passes", () => {
  expect(treeViolations(readme, ["crates/cpu/Cargo.toml", "scripts/a.ts", "README.md", ".ci/run"])).toEqual([]);
});

test("a folder that is missing on either side is named", () => {
  expect(treeViolations(readme, ["crates/cpu/a.rs", "crates/text/a.rs", "apps/train/a.ts"])).toEqual([
    "README.md: the tree lacks crates/text/",
    "README.md: the tree lacks apps/",
    "README.md: the tree lacks apps/train/",
    "README.md: the tree names scripts/, which is not there",
  ]);
  expect(treeViolations("# none", [])).toEqual(["README.md: no ```tree block"]);
});
