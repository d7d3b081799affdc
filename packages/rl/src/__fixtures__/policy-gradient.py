"""Writes policy-gradient.golden.json: the policy-gradient loss of every aggregation mode, by autograd in PyTorch.

Run from the repository's root with PyTorch and transformers: python packages/rl/src/__fixtures__/policy-gradient.py
The reference works on padded masks, as public trainers do, and knows nothing of per-rollout weights. f64 throughout.
For each case: the loss, its gradient by each response token's logprob, the norm of its gradient by the parameters,
and the logprobs after one AdamW step whose large epsilon makes the update proportional to the gradient.
"""

import json
import random
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

HERE = Path(__file__).parent
MODEL = "crates/testing/golden/qwen3"
LIMIT = 10
STEP = {"learningRate": 200.0, "epsilon": 1000.0, "betas": [0.9, 0.999], "weightDecay": 0.0, "maxGradNorm": 1e9}

# Four groups of four: (score, length, truncated). Group 1 has no variance, group 3 one survivor under "exclude".
GROUPS = [
    [(1, 4, False), (0, 7, False), (0, 2, False), (1, 9, False)],
    [(1, 3, False), (1, 5, False), (1, 4, False), (1, 6, False)],
    [(0.5, 6, False), (0, 3, False), (1, 8, False), (1, LIMIT, True)],
    [(0, LIMIT, True), (0, LIMIT, True), (0, LIMIT, True), (1, 5, False)],
]
SETTINGS = [("sample", "exclude", True), ("population", "mask", False), ("none", "off", True), ("leave-one-out", "exclude", False)]
MODES = ["group-token-mean", "token-mean", "seq-mean-token-mean", "seq-mean-token-sum-norm"]


def draw_sequences(vocab):
    numbers = random.Random(7)
    sequences = []
    for place, group in enumerate(GROUPS):
        prompt = [numbers.randrange(vocab) for _ in range(3 + place)]
        sequences += [(prompt, [numbers.randrange(vocab) for _ in range(length)]) for _, length, _ in group]
    return sequences


def response_logprobs(model, sequences):
    """[rollouts, LIMIT], zero past a response's end; each sequence runs alone, so there is no padding to go wrong."""
    rows = []
    for prompt, response in sequences:
        logits = model(torch.tensor([prompt + response])).logits[0, len(prompt) - 1 : -1]
        chosen = torch.log_softmax(logits, -1).gather(1, torch.tensor(response)[:, None])[:, 0]
        rows.append(torch.nn.functional.pad(chosen, (0, LIMIT - len(response))))
    return torch.stack(rows)


def loss_of(logprobs, mode, advantage_std, overlong, drop_zero_variance):
    groups, size = len(GROUPS), len(GROUPS[0])
    score = torch.tensor([[s for s, _, _ in group] for group in GROUPS], dtype=torch.float64)
    length = torch.tensor([[n for _, n, _ in group] for group in GROUPS])
    cut = torch.tensor([[c for _, _, c in group] for group in GROUPS])
    if overlong == "mask":
        score = score.masked_fill(cut, 0)
    counted = ~cut if overlong == "exclude" else torch.ones_like(cut)
    in_loss = torch.ones_like(cut) if overlong == "off" else ~cut
    advantage = torch.zeros_like(score)
    for g in range(groups):
        s = score[g][counted[g]]
        if len(s) < 2 or (drop_zero_variance and bool((s == s[0]).all())):
            in_loss[g] = False
            continue
        if advantage_std == "leave-one-out":
            a = torch.stack([s[i] - torch.cat([s[:i], s[i + 1 :]]).mean() for i in range(len(s))])
        else:
            a = s - s.mean()
            if advantage_std == "sample":
                a = a / (s.std(correction=1) + 1e-6)
            if advantage_std == "population":
                a = a / (s.std(correction=0) + 1e-6)
        advantage[g, counted[g]] = a
    mask = (torch.arange(LIMIT)[None, None] < length[..., None]) & in_loss[..., None]
    mask = mask.double()
    token_loss = -advantage[..., None] * logprobs.view(groups, size, LIMIT) * mask
    if mode == "group-token-mean":
        tokens = mask.sum((1, 2))
        return (token_loss.sum((1, 2))[tokens > 0] / tokens[tokens > 0]).mean()
    if mode == "token-mean":
        return token_loss.sum() / mask.sum()
    tokens = mask.sum(2)
    kept = tokens > 0
    if mode == "seq-mean-token-mean":
        return (token_loss.sum(2)[kept] / tokens[kept]).mean()
    return (token_loss.sum(2)[kept] / LIMIT).mean()


def adamw_first_step(model):
    """AdamW's first step by hand: both moments' bias corrections cancel, m = g and v = g squared."""
    with torch.no_grad():
        for parameter in model.parameters():
            g = parameter.grad
            parameter -= STEP["learningRate"] * g / (g.abs() + STEP["epsilon"])


def run_case(mode, setting):
    model = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float64, attn_implementation="eager")
    sequences = draw_sequences(model.config.vocab_size)
    logprobs = response_logprobs(model, sequences)
    logprobs.retain_grad()
    loss = loss_of(logprobs, mode, *setting)
    loss.backward()
    norm = torch.sqrt(sum((p.grad**2).sum() for p in model.parameters()))
    lengths = [len(response) for _, response in sequences]
    advantage_std, overlong, drop = setting
    case = {
        "lossAggMode": mode,
        "advantageStd": advantage_std,
        "overlongFiltering": overlong,
        "dropZeroVariance": drop,
        "loss": loss.item(),
        "gradNorm": norm.item(),
        "lossByLogprob": [row[:n].tolist() for row, n in zip(logprobs.grad, lengths)],
    }
    if setting == SETTINGS[0]:
        adamw_first_step(model)
        with torch.no_grad():
            after = response_logprobs(model, sequences)
        case["logprobsAfterStep"] = [row[:n].tolist() for row, n in zip(after, lengths)]
    return case, sequences, [row[:n].tolist() for row, n in zip(logprobs.detach(), lengths)]


def main():
    cases = []
    for setting in SETTINGS:
        for mode in MODES:
            case, sequences, logprobs = run_case(mode, setting)
            cases.append(case)
    rollouts = [
        {"prompt": prompt, "response": response, "score": score, "truncated": truncated, "logprobs": row}
        for (prompt, response), (score, _, truncated), row in zip(sequences, sum(GROUPS, []), logprobs)
    ]
    golden = {"model": MODEL, "groupSize": len(GROUPS[0]), "maxResponseLength": LIMIT, "step": STEP}
    golden |= {"rollouts": rollouts, "cases": cases}
    (HERE / "policy-gradient.golden.json").write_text(json.dumps(golden) + "\n")
    for case in cases:
        print(case["lossAggMode"], case["advantageStd"], case["overlongFiltering"], case["loss"], case["gradNorm"])


main()
