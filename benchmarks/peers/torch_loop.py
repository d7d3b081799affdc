"""A decode loop written by hand in PyTorch: what transformers' generate costs beyond the arithmetic is not in it.

The KV cache is allocated once, queries with keys and values are one matrix and so are gate and up, heads that share keys are
rows of one attention call, and nothing is computed but the last token's logits.
"""

import json
import time
from pathlib import Path

from protocol import JOB, peak_gib, serve, token_ids

import torch
import torch.nn.functional as F
from safetensors.torch import load_file

BATCH, PROMPT, RESPONSE = JOB["batch"], JOB["prompt"], JOB["response"]
DTYPE = {"f32": torch.float32, "bf16": torch.bfloat16}[JOB["dtype"]]


class Loop:
    def __init__(self):
        folder = Path(JOB["folder"])
        config = json.loads((folder / "config.json").read_text())
        weights = {name: tensor.to(DTYPE) for name, tensor in load_file(folder / "model.safetensors").items()}
        self.heads, self.kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
        self.hidden, self.vocab, self.eps = config["hidden_size"], config["vocab_size"], config["rms_norm_eps"]
        self.head_dim = self.hidden // self.heads
        self.embedding, self.final_norm = weights["model.embed_tokens.weight"], weights["model.norm.weight"]
        self.layers = [self.layer(weights, f"model.layers.{i}.") for i in range(config["num_hidden_layers"])]
        theta = (config.get("rope_parameters") or config)["rope_theta"]
        frequencies = theta ** (-torch.arange(0, self.head_dim, 2).float() / self.head_dim)
        angles = torch.arange(PROMPT + RESPONSE).float()[:, None] * frequencies
        self.cos, self.sin = (torch.cat([part, part], -1).to(DTYPE) for part in (angles.cos(), angles.sin()))
        shape = (len(self.layers), BATCH, self.kv_heads, PROMPT + RESPONSE, self.head_dim)
        self.keys, self.values = torch.zeros(shape, dtype=DTYPE), torch.zeros(shape, dtype=DTYPE)

    @staticmethod
    def layer(weights, prefix):
        attention = prefix + "self_attn."
        return (
            weights[prefix + "input_layernorm.weight"],
            torch.cat([weights[f"{attention}{name}_proj.weight"] for name in "qkv"]),
            torch.cat([weights[f"{attention}{name}_proj.bias"] for name in "qkv"]),
            weights[attention + "o_proj.weight"],
            weights[prefix + "post_attention_layernorm.weight"],
            torch.cat([weights[f"{prefix}mlp.{name}_proj.weight"] for name in ("gate", "up")]),
            weights[prefix + "mlp.down_proj.weight"],
        )

    def rotate(self, x, start):
        end, half = start + x.shape[2], self.head_dim // 2
        turned = torch.cat([-x[..., half:], x[..., :half]], -1)
        return x * self.cos[start:end] + turned * self.sin[start:end]

    @torch.inference_mode()
    def forward(self, tokens, start):
        """Logits after the last of tokens [batch, length], which stand at positions start…"""
        batch, length = tokens.shape
        end, kv_dim = start + length, self.kv_heads * self.head_dim
        x = F.embedding(tokens, self.embedding)
        for index, (norm, qkv, bias, out, mlp_norm, gate_up, down) in enumerate(self.layers):
            projected = F.linear(F.rms_norm(x, (self.hidden,), norm, self.eps), qkv, bias)
            parts = projected.split([self.hidden, kv_dim, kv_dim], -1)
            q, k, v = (part.view(batch, length, -1, self.head_dim).transpose(1, 2) for part in parts)
            self.keys[index, :batch, :, start:end] = self.rotate(k, start)
            self.values[index, :batch, :, start:end] = v
            keys, values = self.keys[index, :batch, :, :end], self.values[index, :batch, :, :end]
            q = self.rotate(q, start)
            if length == 1:
                shared = q.reshape(batch, self.kv_heads, -1, self.head_dim)
                attended = F.scaled_dot_product_attention(shared, keys, values).reshape(batch, 1, self.hidden)
            else:
                attended = F.scaled_dot_product_attention(q, keys, values, is_causal=True, enable_gqa=True)
                attended = attended.transpose(1, 2).reshape(batch, length, self.hidden)
            x = x + F.linear(attended, out)
            gate, up = F.linear(F.rms_norm(x, (self.hidden,), mlp_norm, self.eps), gate_up).chunk(2, -1)
            x = x + F.linear(F.silu(gate) * up, down)
        return F.linear(F.rms_norm(x[:, -1], (self.hidden,), self.final_norm, self.eps), self.embedding)

    def repeat(self, seed, response):
        prompts = torch.tensor([token_ids(PROMPT, 1000 * seed + index, self.vocab) for index in range(BATCH)])
        began = time.perf_counter()
        logits = self.forward(prompts, 0)
        tokens = torch.multinomial(logits.float().softmax(-1), 1)
        prefilled = time.perf_counter()
        for position in range(PROMPT, PROMPT + response - 1):
            logits = self.forward(tokens, position)
            tokens = torch.multinomial(logits.float().softmax(-1), 1)
        return {"prefill_seconds": prefilled - began, "full_seconds": time.perf_counter() - began, "peak_gib": peak_gib()}

    def score(self, tokens):
        """Logprobs of all tokens but the first, one token after the other: the path that is measured."""
        logprobs = []
        for position, token in enumerate(tokens[:-1]):
            logits = self.forward(torch.tensor([[token]]), position)
            logprobs.append(float(logits[0].float().log_softmax(-1)[tokens[position + 1]]))
        return logprobs


def load():
    torch.set_num_threads(JOB["threads"])
    torch.manual_seed(0)
    loop = Loop()

    def run(command):
        if command["do"] == "score":
            return {"logprobs": loop.score(command["tokens"])}
        if command["do"] == "warm":
            loop.repeat(0, 2)
            return {}
        return loop.repeat(command["index"] + 1, RESPONSE)

    return f"PyTorch {torch.__version__.split('+')[0]} loop", run


serve(load)
