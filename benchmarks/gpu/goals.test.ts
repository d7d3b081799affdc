// The goals of the GPU bundle (goals.py): each takes the rows that it is about, and tells whether they reach it.
import { expect, test } from "bun:test";
import { z } from "zod";

/** What goals.py says of rows. */
function verdictsOf(rows: readonly Record<string, unknown>[]) {
  const program = `import json, sys
from goals import judge, verdicts
rows = json.load(sys.stdin)
for row in rows: judge(row, rows)
print(json.dumps(verdicts(rows)))`;
  const child = Bun.spawnSync(["python3", "-B", "-c", program], {
    cwd: import.meta.dir,
    stdin: new TextEncoder().encode(JSON.stringify(rows)),
  });
  return z
    .array(z.object({ goal: z.string(), met: z.boolean().nullable() }))
    .parse(JSON.parse(child.stdout.toString()));
}

test("every goal is met by figures that reach it, and missed by one that does not", () => {
  const head = { m: 4096, n: 152064, k: 3584 };
  const tensor = (kind: string, shape: object, ours: number, peer = 800) => ({
    kind,
    shape,
    ours,
    unit: "TFLOP/s",
    peers: { cuBLAS: peer },
  });
  const bytes = (kind: string, shape: object, ours: number) => ({ kind, shape, ours, unit: "GB/s", limit: 4000 });
  const other = (kind: string, shape: object, ours: number, unit: string) => ({ kind, shape, ours, unit });
  const decode = (sequences: number, context: number) => ({ sequences, context, kv_heads: 4, head_dim: 128 });
  const model = "qwen2.5-7b";
  const rows = [
    ...["forward", "backward_input", "backward_weight"].map((layout) => tensor(`matmul_${layout}`, head, 500)),
    tensor("attention_forward", {}, 310),
    tensor("attention_backward", {}, 160),
    tensor("head_loss", { rows: 4096, vocab: 152064, dim: 3584, loss: "sft" }, 430),
    bytes("attention_decode", decode(64, 1024), 2900),
    bytes("attention_decode", decode(64, 4096), 3500),
    ...["adamw", "rms_norm", "rms_norm_backward", "rope", "swiglu", "swiglu_backward"].map((kind) =>
      bytes(kind, {}, 3500),
    ),
    other("head_memory", { rows: 4096, vocab: 152064 }, 3.6, "GiB"),
    other("sample", { rows: 64 }, 0.09, "ms"),
    other("train", { model, length: 1024 }, 11000, "tokens/s"),
    other("train", { model, length: 8192 }, 7600, "tokens/s"),
    other("train", { model, length: 32768 }, 4000, "tokens/s"),
    other("decode", { model, batch: 64, context: 1024 }, 10400, "tokens/s"),
    other("decode", { model, batch: 256, context: 1024 }, 20000, "tokens/s"),
    other("grpo", { model, responses: 8, whole: true }, 400, "s"),
    other("contract", { m: 64 }, 6, "%"),
  ];
  expect(verdictsOf(rows).filter(({ met }) => met !== true)).toEqual([]);
  expect(verdictsOf([]).filter(({ met }) => met !== null)).toEqual([]);
  const slow = rows.map((row) => ({
    ...row,
    ours: ["ms", "GiB", "%"].includes(row.unit) ? row.ours * 9 : row.ours / 9,
  }));
  // Slower by the same factor as its products, the loss keeps its share; a step of GRPO only has to run.
  const met = verdictsOf(slow).filter((verdict) => verdict.met === true);
  expect(met.map(({ goal }) => goal)).toEqual([
    "lm-head loss and gradients, SFT and policy gradient, 152K vocabulary",
    "GRPO step 7B, responses of 32K, one GPU",
  ]);
});
