"""Prints the digest of each MBPP+ task's inputs as EvalPlus deserialises them, which evalplus-task.test.ts holds.

usage: python evalplus_inputs.py FOLDER   (the folder with mbpp_plus/MbppPlus-v0.1.0.jsonl.gz; `pip install evalplus==0.3.1`)
"""

import hashlib
import json
import os
import struct
import sys

os.environ["MBPP_OVERRIDE_PATH"] = f"{sys.argv[1]}/mbpp_plus/MbppPlus-v0.1.0.jsonl.gz"

from evalplus.data import get_mbpp_plus  # noqa: E402


def plain(value):
    """The value with its types told apart; a float by its bits, since its text is a matter of taste."""
    kind = type(value)
    if kind is int:
        return f"i{value}"
    if kind is float:
        return "f" + struct.pack(">d", value).hex()
    if kind is complex:
        return ["c", plain(value.real), plain(value.imag)]
    if kind is set:
        return ["s", *sorted(map(plain, value))]
    if kind is dict:
        return ["d", *([plain(key), plain(item)] for key, item in value.items())]
    if kind in (list, tuple):
        return [kind.__name__[0], *map(plain, value)]
    return f"'{value}" if kind is str else value


total = hashlib.sha256()
for task in get_mbpp_plus().values():
    inputs = [list(values) for values in [*task["base_input"], *task["plus_input"]]]
    total.update(json.dumps([task["task_id"], *map(plain, inputs)], separators=(",", ":"), ensure_ascii=False).encode())
print(total.hexdigest())
