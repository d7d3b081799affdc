"""The same work as bench_ops, done by PyTorch: `torch_ops.py limits|peers [--device cpu]`, a JSON line each.

limits: what a copy and a large product reach on this chip. peers: reads our rows from stdin, prints a line of peers for each. cuBLAS through
torch.matmul; FlashAttention and cuDNN through scaled_dot_product_attention; everything else as plain PyTorch has it, the losses in chunks
that are recomputed, as Liger does it. On a CPU it runs the same code: its figures mean nothing.
"""

import argparse
import json
import statistics
import sys
import time

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

SAMPLES, SAMPLE_MS = 7, 4.0
# What a CPU has not.
GPU_ALONE = ("SDPA cuDNN",)


def milliseconds(work):
    """Median time of one run: by events on a GPU."""

    def once(runs):
        if device == "cpu":
            began = time.perf_counter()
            for _ in range(runs):
                work()
            return 1e3 * (time.perf_counter() - began) / runs
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        for _ in range(runs):
            work()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / runs

    once(1)
    runs = 1 if device == "cpu" else max(1, min(1000, round(SAMPLE_MS / max(once(2), 1e-3))))
    return statistics.median(once(runs) for _ in range(SAMPLES))


def gibibytes(work):
    """Memory that the work takes at its peak beside what is there."""
    if device == "cpu":
        work()
        return None
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    work()
    torch.cuda.synchronize()
    return (torch.cuda.max_memory_allocated() - before) / 2**30


def halves(*shape):
    return torch.randn(*shape, device=device, dtype=torch.bfloat16)


def matmul_forward(m, n, k):
    x, w = halves(m, k), halves(n, k)
    return 2 * m * n * k, {"cuBLAS": lambda: x @ w.T}


def matmul_backward_input(m, n, k):
    d_y, w = halves(m, n), halves(n, k)
    return 2 * m * n * k, {"cuBLAS": lambda: d_y @ w}


def matmul_backward_weight(m, n, k):
    d_y, x = halves(m, n), halves(m, k)
    return 2 * m * n * k, {"cuBLAS": lambda: d_y.T @ x}


def matmul_decode(m, n, k):
    x, w = halves(m, k), halves(n, k)
    return 2 * (n * k + m * k + m * n), {"cuBLAS": lambda: x @ w.T}


def contract(**_):
    # Ours against ours: there is no peer.
    return None, {}


def sdpa(backend, q, k, v):
    def work():
        with sdpa_kernel(backend):
            return F.scaled_dot_product_attention(q, k, v, is_causal=True)

    return work


def heads_of(tokens, heads, kv_heads, head_dim, gradient):
    q, k, v = (halves(1, heads, tokens, head_dim).requires_grad_(gradient) for _ in range(3))
    return q, k, v, 2 * tokens * tokens * heads * head_dim


BACKENDS = {"SDPA flash": SDPBackend.FLASH_ATTENTION, "SDPA cuDNN": SDPBackend.CUDNN_ATTENTION}


def attention_forward(**shape):
    q, k, v, flops = heads_of(**shape, gradient=False)
    return flops, {name: sdpa(backend, q, k, v) for name, backend in BACKENDS.items()}


def attention_backward(**shape):
    q, k, v, flops = heads_of(**shape, gradient=True)

    def backward(backend):
        # The forward pass runs at the first call, so that a backend that is missing spoils its own figure alone.
        kept = []

        def work():
            if not kept:
                kept.append(sdpa(backend, q, k, v)())
            torch.autograd.grad(kept[0], (q, k, v), torch.ones_like(kept[0]), retain_graph=True)

        return work

    return 2.5 * flops, {name: backward(backend) for name, backend in BACKENDS.items()}


def attention_decode(sequences, context, heads, kv_heads, head_dim):
    q = halves(sequences, heads, 1, head_dim)
    k, v = (halves(sequences, kv_heads, context, head_dim) for _ in range(2))
    work = lambda: F.scaled_dot_product_attention(q, k, v, enable_gqa=True)  # noqa: E731
    return 4 * sequences * context * kv_heads * head_dim, {"SDPA": work}


def losses(rows, vocab, dim, loss):
    """Loss and gradients of the lm-head, all rows at once or in chunks."""
    x, w = halves(rows, dim).requires_grad_(), (halves(vocab, dim) * 0.02).detach().requires_grad_()
    targets = torch.randint(vocab, (rows,), device=device)
    advantages, sampled = torch.randn(rows, device=device), torch.randn(rows, device=device) * 0.1 - 12

    def value(part):
        logits = (x[part] @ w.T).float()
        if loss == "sft":
            return F.cross_entropy(logits, targets[part], reduction="sum")
        logprobs = (logits * 1.25).log_softmax(-1).gather(1, targets[part, None])[:, 0]
        ratio = (logprobs - sampled[part]).exp()
        return -torch.minimum(ratio * advantages[part], ratio.clamp(0.8, 1.28) * advantages[part]).sum()

    def work(chunk):
        for start in range(0, rows, chunk):
            torch.autograd.grad(value(slice(start, start + chunk)), (x, w))

    return {"torch": lambda: work(rows), "torch, chunks of 1024": lambda: work(1024)}


def head_loss(rows, vocab, dim, loss):
    return 6 * rows * vocab * dim, losses(rows, vocab, dim, loss)


def head_memory(rows, vocab, dim):
    return None, losses(rows, vocab, dim, "sft")


def softmax_statistics(rows, vocab, dim):
    logits = torch.randn(rows, vocab, device=device)
    return 4 * rows * vocab, {"torch logsumexp": lambda: logits.logsumexp(-1)}


def softmax_backward(rows, vocab, dim):
    logits = torch.randn(rows, vocab, device=device)
    return 8 * rows * vocab, {"torch softmax": lambda: torch.softmax(logits, -1)}


def sample(rows, vocab, limit, top_k, top_p):
    logits = torch.randn(rows, vocab, device=device) * 4

    def work():
        scores = logits
        if top_k:
            least = scores.topk(top_k).values[:, -1:]
            scores = scores.masked_fill(scores < least, -torch.inf)
        if top_p < 1:
            ordered, ids = scores.softmax(-1).sort(descending=True)
            dropped = ordered.cumsum(-1) - ordered > top_p
            scores = scores.masked_fill(dropped.scatter(1, ids, dropped), -torch.inf)
        return torch.multinomial(scores.softmax(-1), 1)

    return None, {"torch.multinomial": work}


def adamw(elements):
    parameter = torch.randn(elements, device=device, requires_grad=True)
    parameter.grad = torch.randn(elements, device=device)
    optimizer = torch.optim.AdamW([parameter], lr=1e-6, fused=True)
    # In f32 throughout, 28 bytes an element to our 20, and without the bf16 weight, which torch writes in a pass of its own.
    return 28 * elements, {"torch fused": optimizer.step}


def sum_of_squares(elements):
    x = torch.randn(elements, device=device)
    return 4 * elements, {"torch": lambda: torch.linalg.vector_norm(x)}


def rms_norm(rows, dim):
    residual, delta, w = halves(rows, dim), torch.randn(rows, dim, device=device), halves(dim)

    def eager(residual, delta):
        total = (residual + delta).to(torch.bfloat16)
        return total, F.rms_norm(total, (dim,), w, 1e-6)

    return 10 * rows * dim, {"torch": lambda: eager(residual, delta)}


def rms_norm_backward(rows, dim):
    total, w = halves(rows, dim).requires_grad_(), halves(dim).requires_grad_()
    d_out = halves(rows, dim)
    out = F.rms_norm(total, (dim,), w, 1e-6)
    return 14 * rows * dim, {"torch": lambda: torch.autograd.grad(out, (total, w), d_out, retain_graph=True)}


def rope(rows, heads, kv_heads, head_dim):
    x = halves(rows, heads + kv_heads, head_dim)
    cos, sin = (torch.randn(rows, 1, head_dim, device=device) for _ in range(2))

    def eager(x):
        low, high = x.chunk(2, -1)
        return (x * cos + torch.cat((-high, low), -1) * sin).to(torch.bfloat16)

    return 4 * x.numel(), {"torch": lambda: eager(x)}


def swiglu(tokens, ffn):
    gate_up = halves(tokens, 2 * ffn)

    def eager(gate_up):
        gate, up = gate_up.chunk(2, -1)
        return F.silu(gate) * up

    return 6 * tokens * ffn, {"torch": lambda: eager(gate_up)}


def swiglu_backward(tokens, ffn):
    gate_up = halves(tokens, 2 * ffn).requires_grad_()
    d_out = halves(tokens, ffn)
    gate, up = gate_up.chunk(2, -1)
    out = F.silu(gate) * up
    return 16 * tokens * ffn, {"torch": lambda: torch.autograd.grad(out, gate_up, d_out, retain_graph=True)}


KINDS = {
    function.__name__: function
    for function in (
        matmul_forward, matmul_backward_input, matmul_backward_weight, matmul_decode, contract, attention_forward,
        attention_backward, attention_decode, head_loss, head_memory, softmax_statistics, softmax_backward, sample, adamw,
        sum_of_squares, rms_norm, rms_norm_backward, rope, swiglu, swiglu_backward,
    )
}  # fmt: skip


def limits():
    """Bandwidth of a copy, read and written bytes counted, and the rate of a large product."""
    elements, side = (1 << 10, 64) if device == "cpu" else (1 << 30, 8192)
    source = torch.empty(elements, dtype=torch.int32, device=device)
    target = torch.empty_like(source)
    gb = 2 * source.numel() * 4 / milliseconds(lambda: target.copy_(source)) / 1e6
    print(json.dumps({"limit": "GB/s", "value": gb}), flush=True)
    del source, target
    flops, works = matmul_forward(side, side, side)
    print(json.dumps({"limit": "TFLOP/s", "value": flops / milliseconds(works["cuBLAS"]) / 1e9}), flush=True)


def figure(unit, amount, work):
    if unit == "GiB":
        return gibibytes(work)
    ms = milliseconds(work)
    return ms if unit in ("ms", "%") else amount / ms / {"TFLOP/s": 1e9, "GB/s": 1e6}[unit]


def peers_of(row):
    """Figures of the peers in the row's unit; what failed is a note, and `failed` where it is no matter of the device."""
    amount, works = KINDS[row["kind"]](**row["shape"])
    found, notes, failed = {}, [], False
    for name, work in works.items():
        try:
            found[name] = figure(row["unit"], amount, work)
        except Exception as error:
            notes.append(f"{name}: {type(error).__name__} {str(error).splitlines()[0][:120]}")
            failed = failed or not (device == "cpu" and name in GPU_ALONE)
    known = {name: value for name, value in found.items() if value is not None}
    return {"peers": known, "note": "; ".join(notes) or None, "failed": failed}


def peers():
    for index, row in enumerate(json.load(sys.stdin)):
        try:
            found = peers_of(row)
        except Exception as error:
            found = {"peers": {}, "note": f"{type(error).__name__}: {error}"[:200], "failed": True}
        print(json.dumps({"index": index, **found}), flush=True)
        if device != "cpu":
            torch.cuda.empty_cache()


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("what", choices=["limits", "peers"])
parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
arguments = parser.parse_args()
device = arguments.device
if device == "cuda" and not torch.cuda.is_available():
    sys.exit("PyTorch sees no GPU")
limits() if arguments.what == "limits" else peers()
