// Layers of a config: merged like any trees, but for the policy, whose folder and random config are alternatives.
import { isTree, mergeTrees, type Tree } from "./tree.ts";

/** `over` laid on `base`; the policy that `over` names is the only one that stays. */
export function layOver(base: Tree, over: Tree): Tree {
  return mergeTrees(dropAlternative(base, over), over);
}

/** `base` without the policy that the one named in `over` replaces: a folder drops a random policy, and the other way round. */
export function dropAlternative(base: Tree, over: Tree): Tree {
  const { policy } = base;
  if (!isTree(policy) || !isTree(over.policy)) return base;
  if (typeof over.policy.folder === "string") return { ...base, policy: { ...policy, config: null, tokenizer: null } };
  if (isTree(over.policy.config) && typeof policy.folder === "string")
    return { ...base, policy: { ...policy, folder: null } };
  return base;
}
