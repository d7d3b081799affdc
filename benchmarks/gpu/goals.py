"""What each row of the GPU table of the benchmarks is to reach, and how far a run got: the figures that this set of kernels is judged by.

A goal takes rows by their kind and shape, makes one figure of each, and is met where all of them are. A goal without a row was not run.
"""

from collections import namedtuple

# figure(row, rows) gives the number that must be at least (or, with `most`, at most) `bound`; None where it cannot be told.
Goal = namedtuple("Goal", "name to_reach covers figure bound most", defaults=(False,))

# tokens/s of a decoding 7B policy at 1K context that its weights and keys allow on an H200: sequences -> tokens/s.
DECODE_ROOFLINE = {64: 12.9e3, 256: 24.9e3}
# tokens/s of full-parameter training of 7B with attention at 300/150 TFLOP/s: length -> tokens/s.
TRAINING_7B = {1024: 10.7e3, 8192: 7.5e3, 32768: 3.9e3}
LARGE_KV_BYTES = 256 * 2**20
LAYOUTS = ("matmul_forward", "matmul_backward_input", "matmul_backward_weight")


def kind(*names):
    return lambda row: row.get("kind") in names


def shaped(name, **expected):
    """Rows of a kind whose shape has these values."""
    return lambda row: row.get("kind") == name and all(row["shape"].get(key) == value for key, value in expected.items())


def to_peer(row, rows):
    """How many times better than the best peer; time and memory are better when they are less."""
    sign = -1 if row["unit"] in ("ms", "GiB") else 1
    best = max(row.get("peers", {}).values(), key=lambda value: sign * value, default=None)
    return None if best is None else (row["ours"] / best) ** sign


def of_limit(row, rows):
    return row["ours"] / row["limit"] if row.get("limit") else None


def plain(row, rows):
    return row["ours"]


def kv_bytes(row):
    shape = row["shape"]
    return 4 * shape["sequences"] * shape["context"] * shape["kv_heads"] * shape["head_dim"]


def is_large_decode(row):
    return row.get("kind") == "attention_decode" and kv_bytes(row) >= LARGE_KV_BYTES


def is_small_decode(row):
    return row.get("kind") == "attention_decode" and kv_bytes(row) < LARGE_KV_BYTES


def of_matmul(row, rows):
    """The rate of a loss with its gradients, as a share of that of its three products alone."""
    shape = row["shape"]
    products = {"m": shape["rows"], "n": shape["vocab"], "k": shape["dim"]}
    rates = [other["ours"] for other in rows if other.get("kind") in LAYOUTS and other["shape"] == products]
    # Equal work in each: the mean rate is the harmonic one.
    return row["ours"] / (3 / sum(1 / rate for rate in rates)) if len(rates) == 3 else None


def of_logits(row, rows):
    shape = row["shape"]
    return row["ours"] * 2**30 / (4 * shape["rows"] * shape["vocab"])


def of_decode_step(row, rows):
    """Milliseconds of sampling as a share of the fastest step that decodes so many sequences of a 7B policy."""
    sequences = row["shape"]["rows"]
    return row["ours"] / (1e3 * sequences / DECODE_ROOFLINE[sequences])


def is_7b(name, **expected):
    return shaped(name, model="qwen2.5-7b", **expected)


GOALS = [
    Goal("bf16 matmul, 4096³, 8192³, 7B layers and head, three layouts", "≥ 0.6x cuBLAS", kind(*LAYOUTS), to_peer, 0.6),
    Goal("flash attention forward, causal, head 128, 8K", "≥ 300 TFLOP/s", kind("attention_forward"), plain, 300),
    Goal("flash attention backward, causal, head 128, 8K", "≥ 150 TFLOP/s", kind("attention_backward"), plain, 150),
    Goal("decode attention, a call that reads ≥ 256 MiB of KV", "≥ 85% of a copy's bandwidth", is_large_decode, of_limit, 0.85),
    Goal("decode attention, 64 sequences x 1K", "≥ 70% of a copy's bandwidth", is_small_decode, of_limit, 0.7),
    Goal("lm-head loss and gradients, SFT and policy gradient, 152K vocabulary", "≥ 85% of its matmuls' rate", kind("head_loss"), of_matmul, 0.85),
    Goal("lm-head loss, memory of a chunk of 4,096", "≤ 1.6x its f32 logits", kind("head_memory"), of_logits, 1.6, True),
    Goal("sampling (temperature, top-k, top-p)", "< 2% of a decode step of 7B", kind("sample"), of_decode_step, 0.02, True),
    *(
        Goal(f"{words}, ≥ 256 MB of traffic", "≥ 85% of a copy's bandwidth", kind(*kinds), of_limit, 0.85)
        for words, kinds in [
            ("AdamW", ["adamw"]),
            ("RMSNorm", ["rms_norm", "rms_norm_backward"]),
            ("RoPE", ["rope"]),
            ("SwiGLU", ["swiglu", "swiglu_backward"]),
        ]
    ),
    *(
        Goal(f"training 7B, {length} tokens a sequence", f"≥ {least:.0f} tokens/s", is_7b("train", length=length), plain, least)
        for length, least in TRAINING_7B.items()
    ),
    *(
        Goal(f"decode 7B, 1K context, batch {batch}", f"≥ 80% of {roofline:.0f} tokens/s", is_7b("decode", batch=batch, context=1024), plain, 0.8 * roofline)
        for batch, roofline in DECODE_ROOFLINE.items()
    ),
    Goal("GRPO step 7B, responses of 32K, one GPU", "it runs; seconds are told", is_7b("grpo", whole=True), plain, float("inf"), True),
    Goal("bitwise contract against split sums, a decode step's products", "≤ 10% more time", kind("contract"), plain, 10.0, True),
]  # fmt: skip


def judge(row, rows):
    """Sets ratio to the best peer, share of the limit, and what the row is to reach with whether it does."""
    if row.get("peers"):
        row["ratio"] = to_peer(row, rows)
    if row.get("limit"):
        row["of_limit"] = of_limit(row, rows)
    goal = next((goal for goal in GOALS if goal.covers(row)), None)
    if goal is None:
        return
    figure = goal.figure(row, rows)
    row["to_reach"] = goal.to_reach
    row["met"] = None if figure is None else figure <= goal.bound if goal.most else figure >= goal.bound


def verdicts(rows):
    """Every goal with the rows that it covers, and whether all of them met it; None where none ran, or one cannot be told."""
    found = []
    for goal in GOALS:
        met = [row.get("met") for row in rows if "ours" in row and goal.covers(row)]
        whole = False if False in met else True if met and None not in met else None
        found.append({"goal": goal.name, "to_reach": goal.to_reach, "rows": len(met), "met": whole})
    return found
