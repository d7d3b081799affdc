// Layers of a config: merged like any trees, but for what has alternatives: the policy (a folder or a random config) and
// the reward (a name, a sum, one a source).
import { isTree, mergeTrees, type Tree } from "./tree.ts";

/** `over` laid on `base`; the policy and the reward that `over` names are the only ones that stay. */
export function layOver(base: Tree, over: Tree): Tree {
  const { reward, ...rest } = dropAlternative(base, over);
  return mergeTrees(over.reward === undefined ? { reward, ...rest } : rest, over);
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
