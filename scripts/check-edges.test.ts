// Wrong imports are planted here, one a rule, and must be found; right ones must pass.
import { expect, test } from "bun:test";
import { edgeViolations } from "./check-edges.ts";

/** The violations of one file. */
const check = (path: string, text: string) => edgeViolations([{ path, text }]);

test("a crate may depend on what lies below it", () => {
  expect(
    check("crates/model/Cargo.toml", "[dependencies]\ngradus-ops.workspace = true\nserde.workspace = true\n"),
  ).toEqual([]);
});

test("train must not depend on engine, nor any crate but node on napi", () => {
  const text =
    "[dependencies]\ngradus-engine.workspace = true\nnapi.workspace = true\n\n[dev-dependencies]\ngradus-cpu.workspace = true\n";
  expect(check("crates/train/Cargo.toml", text)).toEqual([
    "crates/train/Cargo.toml: train must not depend on gradus-engine",
    "crates/train/Cargo.toml: only node knows napi",
  ]);
});

test("rl must not import the SDK, however the import is written", () => {
  const rule = (module: string) => [`packages/rl/src/loop.ts: rl must not import ${module}`];
  expect(check("packages/rl/src/loop.ts", 'import { Policy } from "gradus";\n')).toEqual(rule("gradus"));
  expect(check("packages/rl/src/loop.ts", 'export type { A } from "@gradus/store";\n')).toEqual(rule("@gradus/store"));
  expect(check("packages/rl/src/loop.ts", 'import {\n  a,\n  b,\n} from "@gradus/native";\n')).toEqual(
    rule("@gradus/native"),
  );
  expect(check("packages/rl/src/loop.ts", 'const m = await import("@gradus/native");\n')).toEqual(
    rule("@gradus/native"),
  );
});

test("nobody reaches into a package, by name or by path", () => {
  expect(check("apps/train/src/run.ts", 'import { a } from "@gradus/rl/src/group.ts";\n')).toHaveLength(1);
  expect(check("apps/train/src/run.ts", 'import { a } from "../../../packages/rl/src/group.ts";\n')).toHaveLength(1);
  expect(check("apps/train/src/run.ts", 'import { a } from "@gradus/rl";\nimport { b } from "./b.ts";\n')).toEqual([]);
});

test("only the store knows SQL", () => {
  expect(check("apps/train/src/run.ts", 'import { Database } from "bun:sqlite";\n')).toHaveLength(1);
  expect(check("packages/store/src/open.ts", 'import { Database } from "bun:sqlite";\n')).toEqual([]);
});

test("names that say nothing and files that are too long are refused", () => {
  expect(check("packages/rl/src/utils.ts", "")).toHaveLength(1);
  expect(check("packages/rl/src/long.ts", "\n".repeat(700))).toHaveLength(1);
  expect(check("crates/newcomer/Cargo.toml", "[dependencies]\n")).toHaveLength(1);
});
