// Compares the file tree in README.md with what the repository holds, in both directions.

/** Folders at the root and one below crates, packages, apps and datasets must be in the tree, and nothing else. */
export function treeViolations(readme: string, files: readonly string[]): string[] {
  const block = /```tree\n([\s\S]*?)```/.exec(readme)?.[1];
  if (block === undefined) return ["README.md: no ```tree block"];
  const listed = new Set<string>();
  let parent = "";
  for (const line of block.split("\n")) {
    const match = /^( *)([\w.@-]+\/)/.exec(line);
    if (match === null) continue;
    const [, indent = "", name = ""] = match;
    if (indent === "") parent = name;
    listed.add(indent === "" ? name : parent + name);
  }
  const nested = ["crates/", "packages/", "apps/", "datasets/"];
  const present = new Set<string>();
  for (const file of files) {
    const [first, second, third] = file.split("/");
    if (second === undefined || first?.startsWith(".")) continue;
    present.add(`${first}/`);
    if (third !== undefined && nested.includes(`${first}/`)) present.add(`${first}/${second}/`);
  }
  return [
    ...[...present].filter((path) => !listed.has(path)).map((path) => `README.md: the tree lacks ${path}`),
    ...[...listed]
      .filter((path) => !present.has(path))
      .map((path) => `README.md: the tree names ${path}, which is not there`),
  ];
}
