"""transformers' generate, sampled, with SDPA; prefill is its forward of the prompts with logits of the last token only."""

from protocol import JOB, peak_gib, serve, timed, token_ids

import torch
import transformers

BATCH, PROMPT, RESPONSE = JOB["batch"], JOB["prompt"], JOB["response"]
DTYPE = {"f32": torch.float32, "bf16": torch.bfloat16}[JOB["dtype"]]


def load():
    torch.set_num_threads(JOB["threads"])
    torch.manual_seed(0)
    model = transformers.Qwen2ForCausalLM.from_pretrained(JOB["folder"], dtype=DTYPE, attn_implementation="sdpa").eval()
    vocab = model.config.vocab_size

    def prompts(seed):
        return torch.tensor([token_ids(PROMPT, 1000 * seed + index, vocab) for index in range(BATCH)])

    def generate(tokens, new):
        out = model.generate(
            tokens,
            attention_mask=torch.ones_like(tokens),
            max_new_tokens=new,
            do_sample=True,
            temperature=1.0,
            top_k=0,
            top_p=1.0,
            pad_token_id=0,
        )
        assert out.shape == (BATCH, PROMPT + new), out.shape

    @torch.inference_mode()
    def run(command):
        if command["do"] == "score":
            tokens = torch.tensor([command["tokens"]])
            logprobs = model(tokens).logits[0, :-1].float().log_softmax(-1)
            return {"logprobs": logprobs.gather(1, tokens[0, 1:, None])[:, 0].tolist()}
        seed = 2 * command["index"] + 2 if command["do"] == "repeat" else 0
        first, second = prompts(seed), prompts(seed + 1)
        if command["do"] == "warm":
            generate(first, 2)
            return {}
        return {
            "forward_seconds": timed(lambda: model(first, logits_to_keep=1)),
            "prefill_seconds": timed(lambda: generate(first, 1)),
            "full_seconds": timed(lambda: generate(second, RESPONSE)),
            "peak_gib": peak_gib(),
        }

    return f"transformers {transformers.__version__} generate", run


serve(load)
