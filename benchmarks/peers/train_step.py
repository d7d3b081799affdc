"""Training steps of PyTorch: transformers' Qwen2 with SDPA and the fused AdamW, f32 or under autocast to bf16.

`probe` times eager and compiled steps and names the faster; JOB["mode"] then says which one is measured.
"""

import contextlib
import time

from protocol import JOB, peak_gib, serve, token_ids

import torch
from transformers import Qwen2ForCausalLM

BATCH, LENGTH, TRAINED = JOB["batch"], JOB["length"], JOB["trained"]


def load():
    torch.set_num_threads(JOB["threads"])
    model = Qwen2ForCausalLM.from_pretrained(JOB["folder"], dtype=torch.float32, attn_implementation="sdpa").train()
    model.config.use_cache = False
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, weight_decay=0.01, fused=True)
    forwards = {"eager": model, "compiled": torch.compile(model)}
    vocab = model.config.vocab_size

    def step(seed, forward, want_norm=False):
        tokens = torch.tensor(token_ids(BATCH * LENGTH, seed, vocab)).view(BATCH, LENGTH)
        labels = tokens.clone()
        labels[:, : LENGTH - TRAINED] = -100
        autocast = torch.autocast("cpu", dtype=torch.bfloat16) if JOB["dtype"] == "bf16" else contextlib.nullcontext()
        began = time.perf_counter()
        with autocast:
            loss = forward(input_ids=tokens, labels=labels).loss
        loss.backward()
        before_norm = time.perf_counter()
        # Not part of a step that does not clip: measured apart, and taken out of the time.
        norm = float(torch.nn.utils.get_total_norm([p.grad for p in model.parameters()])) if want_norm else 0.0
        after_norm = time.perf_counter()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        seconds = time.perf_counter() - began - (after_norm - before_norm)
        return {"seconds": seconds, "loss": float(loss.detach()), "gradient_norm": norm, "peak_gib": peak_gib()}

    def run(command):
        if command["do"] == "probe":
            seconds = {}
            # A step of M is long enough to be timed once.
            repeats = 1 if JOB["model"] == "M" else 3
            for mode, forward in forwards.items():
                step(0, forward)
                seconds[mode] = min(step(1, forward)["seconds"] for _ in range(repeats))
            return {"mode": min(seconds, key=seconds.get), **{f"{mode}_seconds": s for mode, s in seconds.items()}}
        seed = command["index"] + 1 if command["do"] == "repeat" else 0
        return step(seed, forwards[JOB.get("mode", "eager")], want_norm=True)

    mode = JOB.get("mode", "eager")
    return f"PyTorch {torch.__version__.split('+')[0]} {mode}", run


serve(load)
