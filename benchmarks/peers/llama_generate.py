"""llama.cpp through its batched interface: `batch` sequences in one llama_batch, as many threads as the job says.

Tokens after the prompt are the highest logits, taken by numpy: llama.cpp's own samplers would cost it more.
"""

import ctypes
import time

from protocol import JOB, peak_gib, serve, token_ids

import llama_cpp
import numpy as np

BATCH, PROMPT, RESPONSE = JOB["batch"], JOB["prompt"], JOB["response"]


@llama_cpp.llama_log_callback
def only_errors(level, text, _):
    if level >= 4:
        import sys

        sys.stderr.write(text.decode(errors="replace"))


class Engine:
    def __init__(self):
        llama_cpp.llama_log_set(only_errors, ctypes.c_void_p(0))
        llama_cpp.llama_backend_init()
        self.model = llama_cpp.llama_model_load_from_file(JOB["folder"].encode(), llama_cpp.llama_model_default_params())
        if not self.model:
            raise RuntimeError(f"llama.cpp cannot load {JOB['folder']}")
        self.vocab = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self.model))
        params = llama_cpp.llama_context_default_params()
        # Room for every sequence, padded as llama.cpp divides a context among them; a prompt batch goes in at once.
        params.n_ctx = BATCH * 256
        params.n_seq_max = BATCH
        params.n_batch = max(512, BATCH * PROMPT)
        params.n_threads = params.n_threads_batch = JOB["threads"]
        self.context = llama_cpp.llama_init_from_model(self.model, params)
        if not self.context:
            raise RuntimeError("llama.cpp cannot make a context")
        self.batch = llama_cpp.llama_batch_init(params.n_batch, 0, 1)

    def clear(self):
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self.context), True)

    def decode(self, sequences, start, every_logit=False):
        """Runs equal numbers of tokens of each sequence from position `start`; gives logits [rows, vocab] of those asked for."""
        batch, index, rows = self.batch, 0, []
        for sequence, tokens in enumerate(sequences):
            for offset, token in enumerate(tokens):
                wanted = every_logit or offset == len(tokens) - 1
                batch.token[index], batch.pos[index] = token, start + offset
                batch.n_seq_id[index], batch.seq_id[index][0] = 1, sequence
                batch.logits[index] = wanted
                if wanted:
                    rows.append(index)
                index += 1
        batch.n_tokens = index
        code = llama_cpp.llama_decode(self.context, batch)
        if code != 0:
            raise RuntimeError(f"llama_decode gave {code}")
        return [np.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(self.context, row), (self.vocab,)) for row in rows]

    def repeat(self, seed, response):
        self.clear()
        prompts = [token_ids(PROMPT, 1000 * seed + index, self.vocab) for index in range(BATCH)]
        began = time.perf_counter()
        tokens = [[int(logits.argmax())] for logits in self.decode(prompts, 0)]
        prefilled = time.perf_counter()
        for position in range(PROMPT, PROMPT + response - 1):
            tokens = [[int(logits.argmax())] for logits in self.decode(tokens, position)]
        full = time.perf_counter() - began
        prefill = prefilled - began
        return {"forward_seconds": prefill, "prefill_seconds": prefill, "full_seconds": full, "peak_gib": peak_gib()}

    def score(self, tokens):
        self.clear()
        logprobs = []
        for logits, target in zip(self.decode([tokens], 0, every_logit=True), tokens[1:]):
            logits = logits.astype(np.float64)
            logprobs.append(float(logits[target] - logits.max() - np.log(np.exp(logits - logits.max()).sum())))
        return logprobs


def load():
    engine = Engine()

    def run(command):
        if command["do"] == "score":
            return {"logprobs": engine.score(command["tokens"])}
        if command["do"] == "warm":
            engine.repeat(0, 2)
            return {}
        return engine.repeat(command["index"] + 1, RESPONSE)

    return f"llama.cpp (llama-cpp-python {llama_cpp.__version__})", run


serve(load)
