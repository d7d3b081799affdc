"""Loads a folder that Gradus saved in transformers and compares its logits with those that Gradus wrote.

Run: python scripts/golden/check_saved.py FOLDER [LOGITS], where LOGITS (default FOLDER/logits.safetensors, made by the example
save_with_logits of crates/model) holds `tokens` [n] and `logits` [n, vocab]. Exit code 1 where they differ.
"""

import pathlib
import sys

import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

TOLERANCE = 1e-5


def main(arguments):
    if len(arguments) not in (1, 2):
        sys.exit("usage: check_saved.py FOLDER [LOGITS]")
    folder = pathlib.Path(arguments[0])
    ours = load_file(arguments[1] if len(arguments) == 2 else folder / "logits.safetensors")
    # Neither dtype nor shapes are given: both must come from the folder.
    model, report = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager", output_loading_info=True)
    for name, found in report.items():
        if found:
            sys.exit(f"{folder}: {name}: {found}")
    with torch.no_grad():
        theirs = model(ours["tokens"].long()[None]).logits[0]
    distance = ((ours["logits"] - theirs).norm() / theirs.norm()).item()
    verdict = "equal" if theirs.dtype == torch.float32 and distance <= TOLERANCE else "different"
    print(f"{folder}: logits in {theirs.dtype} are {verdict}, relative L2 {distance:.2e}")
    sys.exit(verdict != "equal")


if __name__ == "__main__":
    main(sys.argv[1:])
