// Config layers before validation: plain JSON trees, merged from the preset up to the flags.

export type Tree = { [key: string]: unknown };

export function isTree(value: unknown): value is Tree {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** `over` laid on `base`: objects merge key by key, everything else (arrays too) is replaced. */
export function mergeTrees(base: Tree, over: Tree): Tree {
  const merged: Tree = { ...base };
  for (const [key, value] of Object.entries(over)) {
    if (value === undefined) continue;
    const below = merged[key];
    merged[key] = isTree(below) && isTree(value) ? mergeTrees(below, value) : value;
  }
  return merged;
}

/** A copy of `tree` with `change` applied to the value at `path`, where there is one; `*` stands for every index. */
export function changeAt(tree: Tree, path: readonly string[], change: (value: unknown) => unknown): Tree {
  const [head, ...rest] = path;
  if (head === undefined || !(head in tree)) return tree;
  return { ...tree, [head]: changeValue(tree[head], rest, change) };
}

function changeValue(value: unknown, path: readonly string[], change: (value: unknown) => unknown): unknown {
  if (path.length === 0) return change(value);
  if (path[0] === "*")
    return Array.isArray(value) ? value.map((item) => changeValue(item, path.slice(1), change)) : value;
  return isTree(value) ? changeAt(value, path, change) : value;
}
