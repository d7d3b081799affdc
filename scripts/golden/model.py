"""Makes crates/testing/golden/<case>: what PyTorch and transformers compute for tiny random models of each family.

Each case is a Hugging Face folder (config.json, model.safetensors) with
  expected.json         token ids, cu_seqlens, mean loss, losses of ten AdamW steps, rows of the policy-gradient losses
  expected.safetensors  logits [tokens, vocab]; gradient.<name> of the mean loss; and, for the cases with policy losses,
                        policy.<name> and clipped.<name> of those

Run: python scripts/golden/model.py (needs torch and transformers; the tests need only the files).
"""

import json
import pathlib

import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, LlamaConfig, Qwen2Config, Qwen3Config

GOLDEN = pathlib.Path(__file__).resolve().parents[2] / "crates/testing/golden"
# More than one block of 64 keys, a sequence of one row less than a page, and one that predicts a single token.
SEQUENCE_LENGTHS = [70, 15, 2, 33]
# Large enough that attention is far from uniform and no gradient is a difference of nearly equal sums.
WEIGHT_DEVIATION = 0.15
TEMPERATURE = 0.85

SHAPE = {
    "vocab_size": 131,
    "hidden_size": 64,
    "intermediate_size": 104,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "rms_norm_eps": 1e-6,
    "bos_token_id": None,
    "eos_token_id": [1, 3],
}
# With the base below, wavelengths fall into all three ranges: kept, interpolated and divided.
LLAMA3_SCALING = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}

# name: (config, format of config.json, whether the policy losses are part of it)
CASES = {
    "qwen2-tied": (Qwen2Config(**SHAPE, tie_word_embeddings=True, rope_theta=10000.0), "v4", True),
    "qwen2-untied": (Qwen2Config(**SHAPE, rope_theta=1000000.0), "v5", False),
    "qwen3": (Qwen3Config(**SHAPE, head_dim=24, rope_theta=1000000.0), "v5", False),
    "llama3-scaled": (
        LlamaConfig(**{**SHAPE, "num_hidden_layers": 3}, rope_parameters={**LLAMA3_SCALING, "rope_theta": 20000.0}),
        "v4",
        False,
    ),
    "llama-biases": (
        LlamaConfig(
            **SHAPE,
            attention_bias=True,
            mlp_bias=True,
            rope_parameters={"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0},
        ),
        "v5",
        False,
    ),
}


def config_json(config, version):
    """config.json as transformers 5 writes it, or as 4 did: rope at the top level, and no derived fields."""
    fields = config.to_diff_dict()
    fields["architectures"] = [{"qwen2": "Qwen2", "qwen3": "Qwen3", "llama": "Llama"}[config.model_type] + "ForCausalLM"]
    if version == "v4":
        rope = dict(fields.pop("rope_parameters"))
        fields["rope_theta"] = rope.pop("rope_theta")
        fields["rope_scaling"] = None if rope["rope_type"] == "default" else rope
        fields["torch_dtype"] = "float32"
        fields.pop("dtype", None)
        fields["transformers_version"] = "4.55.0"
    return fields


def randomise(model, generator):
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        with torch.no_grad():
            parameter.copy_(1 + 0.2 * noise if "norm" in name else WEIGHT_DEVIATION * noise)


def packed_logits(model, sequences):
    """Every sequence on its own, so that the reference has no packing to get wrong."""
    return torch.cat([model(ids[None]).logits[0] for ids in sequences])


def loss_rows(sequences):
    """(row of the packed batch, target) of every token that follows another of its sequence."""
    rows, start = [], 0
    for ids in sequences:
        rows += [(start + i, int(ids[i + 1])) for i in range(len(ids) - 1)]
        start += len(ids)
    return rows


def logprobs(logits, rows, temperature):
    index = torch.tensor([row for row, _ in rows])
    targets = torch.tensor([target for _, target in rows])
    return torch.log_softmax(logits[index] / temperature, -1).gather(1, targets[:, None])[:, 0]


def gradients(model, loss, prefix):
    model.zero_grad()
    loss.backward()
    return {prefix + name: parameter.grad.clone() for name, parameter in model.named_parameters()}


def policy_losses(model, sequences, generator):
    """-sum of w log softmax(logits / T), and the clipped ratio; a third of the rows has weight 0."""
    rows = loss_rows(sequences)
    weights = torch.randn(len(rows), generator=generator) / 40
    weights[torch.rand(len(rows), generator=generator) < 0.33] = 0
    current = logprobs(packed_logits(model, sequences), rows, TEMPERATURE)
    entropy_rows = torch.log_softmax(packed_logits(model, sequences)[[row for row, _ in rows]] / TEMPERATURE, -1)
    entropies = -(entropy_rows.exp() * entropy_rows).sum(-1)
    policy = -(weights * current).sum()
    tensors = gradients(model, policy, "policy.")

    # Ratios spread over both sides of the bounds 0.8 and 1.28.
    old = current.detach() + 0.3 * torch.randn(len(rows), generator=generator)
    ratio = (logprobs(packed_logits(model, sequences), rows, TEMPERATURE) - old).exp()
    clipped = -torch.minimum(weights * ratio, weights * ratio.clamp(1 - 0.2, 1 + 0.28)).sum()
    tensors |= gradients(model, clipped, "clipped.")
    expected = {
        "temperature": TEMPERATURE,
        "weights": weights.tolist(),
        "logprobs": current.tolist(),
        "entropies": entropies.tolist(),
        "loss": policy.item(),
        "old_logprobs": old.tolist(),
        "clip": [0.2, 0.28],
        "clipped_loss": clipped.item(),
    }
    return expected, tensors


def train_ten_steps(model, sequences):
    decayed = [p for n, p in model.named_parameters() if "norm" not in n and "bias" not in n]
    spared = [p for n, p in model.named_parameters() if "norm" in n or "bias" in n]
    groups = [{"params": decayed, "weight_decay": 0.01}, {"params": spared, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.95), eps=1e-8)
    losses, norms = [], []
    for _ in range(10):
        optimizer.zero_grad()
        loss = -logprobs(packed_logits(model, sequences), loss_rows(sequences), 1.0).mean()
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0).item())
        optimizer.step()
        losses.append(loss.item())
    return losses, norms


def make_case(name, config, version, has_policy_losses, seed):
    generator = torch.Generator().manual_seed(seed)
    config._attn_implementation = "eager"
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).train()
    randomise(model, generator)
    vocab = config.vocab_size
    sequences = [torch.randint(0, vocab, (n,), generator=generator) for n in SEQUENCE_LENGTHS]

    folder = GOLDEN / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config_json(config, version), indent=2) + "\n")
    save_file({n: p.detach().clone() for n, p in model.named_parameters()}, folder / "model.safetensors", {"format": "pt"})

    logits = packed_logits(model, sequences)
    loss = -logprobs(logits, loss_rows(sequences), 1.0).mean()
    tensors = {"logits": logits.detach().clone()} | gradients(model, loss, "gradient.")
    ends = torch.tensor([0] + SEQUENCE_LENGTHS).cumsum(0).tolist()
    expected = {"tokens": torch.cat(sequences).tolist(), "cu_seqlens": ends, "loss": loss.item()}
    if has_policy_losses:
        expected["policy"], policy_tensors = policy_losses(model, sequences, generator)
        tensors |= policy_tensors
    expected["step_losses"], expected["step_gradient_norms"] = train_ten_steps(model, sequences)
    save_file(tensors, folder / "expected.safetensors")
    (folder / "expected.json").write_text(json.dumps(expected) + "\n")


def main():
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)
    for seed, (name, (config, version, has_policy_losses)) in enumerate(CASES.items()):
        make_case(name, config, version, has_policy_losses, seed)
        print(name)


if __name__ == "__main__":
    main()
