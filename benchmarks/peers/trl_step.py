"""GRPO steps of TRL on the CPU: the trainer waits for a command at the end of each step."""

import time

from protocol import JOB, answer, fail, next_command, peak_gib, token_ids

import os
import tempfile

os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"

import torch
import trl
from datasets import Dataset
from transformers import PreTrainedTokenizerFast, Qwen2ForCausalLM, TrainerCallback

ROLLOUTS = JOB["prompts"] * JOB["groupSize"]


class Turns(TrainerCallback):
    """Says that the first step begins, and takes the time of every step from its command to its end."""

    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step == 0:
            answer(name=f"TRL {trl.__version__}", first_step_at=time.time())
            self.wait()

    def on_step_end(self, args, state, control, **kwargs):
        self.seconds = time.perf_counter() - self.began

    def wait(self):
        if next_command() is None:
            os._exit(0)
        self.began = time.perf_counter()


class Trainer(trl.GRPOTrainer):
    """TRL's own; it logs after each step, and there answers the command and waits for the next one."""

    def log(self, logs, *arguments, **options):
        lengths = self._metrics["train"]["completions/mean_length"]
        answer(seconds=self.turns.seconds, response_length=lengths[-1], peak_gib=peak_gib())
        super().log(logs, *arguments, **options)
        self.turns.wait()


def reward(completions, **_):
    """How often the digit 7 stands in the text, as it is for our side."""
    return [(text.count("7") + 1) / max(1, len(text)) for text in completions]


def main():
    torch.set_num_threads(JOB["threads"])
    tokenizer = PreTrainedTokenizerFast.from_pretrained(JOB["folder"])
    tokenizer.eos_token = "<eos>"
    texts = [" ".join(f"w{id}" for id in token_ids(JOB["prompt"], seed, 500)) for seed in range(512)]
    model = Qwen2ForCausalLM.from_pretrained(JOB["folder"], dtype=torch.float32, attn_implementation="sdpa")
    exact = {"min_new_tokens": JOB["response"]} if JOB["exactLength"] else {}
    with tempfile.TemporaryDirectory() as folder:
        config = trl.GRPOConfig(
            output_dir=folder,
            per_device_train_batch_size=ROLLOUTS,
            num_generations=JOB["groupSize"],
            max_completion_length=JOB["response"],
            generation_kwargs=exact,
            beta=0.0,
            loss_type="dapo",
            learning_rate=1e-6,
            temperature=1.0,
            max_steps=100_000,
            logging_steps=1,
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            report_to=[],
            save_strategy="no",
            disable_tqdm=True,
            seed=1,
        )
        turns = Turns()
        trainer = Trainer(
            model=model,
            reward_funcs=reward,
            args=config,
            train_dataset=Dataset.from_dict({"prompt": texts}),
            processing_class=tokenizer,
            callbacks=[turns],
        )
        trainer.turns = turns
        trainer.train()


try:
    main()
except Exception as error:
    fail(error)
    raise
