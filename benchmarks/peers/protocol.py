"""How a peer speaks with `bun run bench`: its job is the first argument, then one JSON object a line in and one out.

Everything else that a library prints goes to stderr. `serve` is called once the peer has loaded.
"""

import json
import os
import resource
import sys
import time

# Before any library can print: stdout is the protocol's alone.
_answers = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

JOB = json.loads(sys.argv[1])


def answer(**figures):
    _answers.write(json.dumps({"ok": figures}) + "\n")


def fail(error):
    _answers.write(json.dumps({"error": f"{type(error).__name__}: {error}".splitlines()[0]}) + "\n")


def next_command():
    """The next command, or None when the benchmark is over."""
    line = sys.stdin.readline()
    return json.loads(line) if line else None


def serve(load):
    """Calls `load()` for the peer's name and its function of a command, then answers until stdin ends."""
    try:
        name, run = load()
        answer(name=name)
        while (command := next_command()) is not None:
            answer(**run(command))
    except Exception as error:
        fail(error)
        raise


def timed(work):
    """Seconds that `work()` took."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def peak_gib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2


def token_ids(length, seed, vocab):
    """The tokens of jobs.ts: a 32-bit mix of index and seed, without the two lowest ids."""
    mask = 0xFFFFFFFF
    ids = []
    for index in range(length):
        x = (index + seed * 1_000_003) & mask
        for _ in range(2):
            x = ((x ^ (x >> 16)) * 0x45D9F3B) & mask
        ids.append(2 + (x ^ (x >> 16)) % (vocab - 2))
    return ids
