"""The parts of a run: what each starts, and what of its output becomes rows of the report.

Every part runs on a GPU, and in small on the simulator and the CPU: part `cpu` runs all of them so, which is how the bundle is tried before
it meets a GPU. Rows of small sizes say that the code runs; their figures mean nothing and are not judged.
"""

import json
import os
import shutil
import statistics
import sys
import tempfile
from collections import namedtuple

from machine import HERE, json_row

GROUPS = ("matmul", "contract", "attention", "loss", "memory")
# The recipe with few steps, for machines where it would take minutes.
SHORT_RECIPE = ["--sft.steps", "20", "--rl.stages.0.end.steps", "2", "--rl.stages.1.end.steps", "2"]
# A 7B policy with gradients and optimizer; less holds its weights and pages alone.
MEMORY_7B_GIB = 130

# One run of one part: `name` is what its rows are kept under, `small` tells a run without a GPU.
Part = namedtuple("Part", "name report bundle deadline small")


def add(part, row, **more):
    part.report.add({"part": part.name, **row, **more, **({"small": True} if part.small else {})})


def settle(part, finished, what, ok=None):
    """Notes how a program of the part ended."""
    good = (finished.code == 0 if ok is None else ok) and not finished.refused
    part.report.note(part.name, "passed" if good else "failed", "" if good else f"{what}: {finished.told()}")
    return good


def missing(part, text):
    part.report.note(part.name, "missing", text)


def on_device(part):
    """Arguments of the bench programs."""
    return ["--small", "--device", "cuda-sim"] if part.small else []


def check(part):
    """The tests of the ops, and the large checks: a row each."""
    for name in sorted(os.listdir(part.bundle.path("bin"))):
        if name.startswith("test_"):
            program = [part.bundle.path("bin", name), *(["--test-threads=1"] if not part.small else [])]
            finished = part.bundle.run(program, part.deadline, {} if part.small else {"GRADUS_TEST_DEVICE": "cuda"}, each=lambda line: test_row(part, name, line))
            if not settle(part, finished, name):
                for text in panics(finished.out + finished.err):
                    part.report.note(part.name, "failed", f"{name}: {text}")
    finished = part.bundle.run([part.bundle.path("bin", "check_large"), *on_device(part)], part.deadline, each=lambda line: large_check_row(part, line))
    settle(part, finished, "check_large")


def test_row(part, program, line):
    words = line.split()
    if len(words) == 4 and words[0] == "test" and words[2] == "...":
        add(part, {"work": f"{program} {words[1]}", "ok": words[3] == "ok"})


def large_check_row(part, line):
    row = json_row(line)
    if row is not None:
        add(part, {"work": row["check"], "ok": row["ok"], "note": row["note"]})


def panics(text):
    """What failed tests said, each in a line."""
    lines = text.splitlines()
    return [after.strip()[:200] for line, after in zip(lines, lines[1:]) if "panicked at" in line]


def sanitizer(part):
    """compute-sanitizer over every op at small sizes."""
    tool = shutil.which("compute-sanitizer") or "/usr/local/cuda/bin/compute-sanitizer"
    if not os.path.exists(tool):
        return missing(part, "compute-sanitizer is not on this machine")
    for name in ("memcheck", "racecheck"):
        for group in GROUPS:
            command = [tool, "--tool", name, "--error-exitcode", "9", part.bundle.path("bin", "bench_ops"), group, "--small"]
            finished = part.bundle.run(command, part.deadline)
            if finished.code is None:
                return missing(part, f"its time ended with {name} of {group}")
            add(part, {"work": f"{name} {group}", "ok": finished.code == 0})
            settle(part, finished, f"{name} of {group}")


def bench(part):
    """Our ops, and beside them the same work by PyTorch."""
    limits = chip_limits(part)
    for group in GROUPS:
        ours = []
        finished = part.bundle.run([part.bundle.path("bin", "bench_ops"), group, *on_device(part)], part.deadline, each=lambda line: ours.append(json_row(line)))
        ours = [row for row in ours if row]
        settle(part, finished, f"bench_ops {group}", finished.code == 0 and len(ours) > 0)
        peers = {}
        try:
            if limits is not None and ours:
                peers = peers_of(part, group, ours)
        finally:
            for index, row in enumerate(ours):
                add(part, bench_row(row, peers.get(index, {}), limits or {}))


def chip_limits(part):
    """What a copy and a large product reach here, by unit; None where PyTorch cannot tell."""
    if part.small and not has_torch(part):
        return missing(part, f"{sys.executable} has no PyTorch: torch_ops.py was not tried")
    found = {}

    def each(line):
        row = json_row(line)
        if row is not None:
            found[row["limit"]] = row["value"]

    finished = part.bundle.run(torch_ops(part, "limits"), part.deadline, each=each)
    return found if settle(part, finished, "torch_ops.py limits") else None


def has_torch(part):
    look = "import importlib.util, sys; sys.exit(importlib.util.find_spec('torch') is None)"
    return part.bundle.run([sys.executable, "-c", look], part.deadline).code == 0


def torch_ops(part, what):
    return [sys.executable, os.path.join(HERE, "torch_ops.py"), what, *(["--device", "cpu"] if part.small else [])]


def peers_of(part, group, ours):
    """By index of our rows; whatever was printed before it failed or its time ran out counts."""
    peers = {}

    def each(line):
        row = json_row(line)
        if row is not None:
            peers[row["index"]] = row

    finished = part.bundle.run(torch_ops(part, "peers"), part.deadline, stdin=json.dumps(ours), each=each)
    settle(part, finished, f"torch_ops.py on {group}")
    # On a CPU every kind of work must have run, in all its forms but those that only a GPU has.
    for index, row in enumerate(ours):
        if part.small and finished.code == 0 and peers.get(index, {}).get("failed"):
            part.report.note(part.name, "failed", f"torch_ops.py {row['kind']}: {peers[index]['note']}")
    return peers


def bench_row(row, peer, limits):
    shape = " ".join(f"{key} {value}" for key, value in row["shape"].items())
    return {
        **{key: row[key] for key in ("kind", "shape", "unit", "repeats")},
        "work": f"{row['kind']} {shape}",
        "ours": statistics.median(row["repeats"]),
        "peers": peer.get("peers", {}),
        "limit": limits.get(row["unit"]),
        "note": "; ".join(text for text in (row.get("note"), peer.get("note")) if text) or None,
    }


def engine(part, *arguments):
    """The engine from its TypeScript: `engine.js` with what to do and on which device."""
    if not part.bundle.has("engine.js"):
        return missing(part, "this bundle carries no engine.js")
    bun = part.bundle.bun()
    if bun is None:
        return missing(part, "there is no Bun: neither bun.xz in the bundle nor GRADUS_BUN nor bun on PATH")

    def each(line):
        row = json_row(line)
        if row is not None:
            add(part, row)
            if row.get("ok") is False:
                part.report.note(part.name, "failed", f"{row['work']}: {row.get('note')}")

    finished = part.bundle.run([bun, part.bundle.path("engine.js"), *arguments], part.deadline, each=each)
    settle(part, finished, f"engine {' '.join(arguments)}")


def recipe(part, device, arguments):
    """`bun run train` from the bundle: the recipe tiny, or what `arguments` make of it."""
    bun = part.bundle.bun()
    program = ("recipe", "packages", "config", "src", "presets", "train.js")
    if bun is None or not part.bundle.has(*program):
        return missing(part, "the recipe needs Bun and recipe/ in the bundle")
    with tempfile.TemporaryDirectory() as folder:
        command = [bun, part.bundle.path(*program), "--preset", "tiny", "--device", device, "--dtype", "bf16", *arguments]
        finished = part.bundle.run(command, part.deadline, folder=folder)
    said = [line.strip() for line in finished.out.splitlines() if line.strip().startswith("evaluation")]
    work = " ".join(["recipe tiny", *arguments, "on", device])
    add(part, {"work": work, "ok": finished.code == 0, "note": said[-1] if said else None})
    settle(part, finished, work)


def engines(part):
    # Each shape is a process of its own: what one leaves behind is not the next one's memory.
    for what in ("tiny", "qwen2.5-0.5b", "qwen2.5-1.5b"):
        engine(part, what, "cuda")
    recipe(part, "cuda", [])


def engine_7b(part):
    whole = part.report.device["memory_gib"] >= MEMORY_7B_GIB
    if not whole:
        missing(part, f"7B trains on a GPU of {MEMORY_7B_GIB} GiB, this one has {part.report.device['memory_gib']:.0f}: it decodes alone")
    engine(part, "qwen2.5-7b", "cuda", *([] if whole else ["--generation"]))


def grpo_7b(part):
    if part.report.device["memory_gib"] < MEMORY_7B_GIB:
        return missing(part, f"it needs a GPU of {MEMORY_7B_GIB} GiB, this one has {part.report.device['memory_gib']:.0f}")
    engine(part, "grpo-7b", "cuda", "--seconds", str(int(part.deadline - part.report.began - part.report.seconds())))


def cpu(part):
    """What runs without a GPU: the pack is whole, and every other part in small, on the simulator and the CPU."""
    if part.bundle.has("gradus.kernels"):
        pack = part.bundle.path("gradus.kernels")
        with open(pack, "rb") as file:
            whole = file.read(8) == b"GRADUSK1"
        add(part, {"work": "kernel pack", "ok": whole, "note": f"{os.path.getsize(pack)} bytes"})
        part.report.note(part.name, "passed" if whole else "failed", "" if whole else "gradus.kernels is no kernel pack")
    else:
        missing(part, "this bundle carries no kernel pack")
    if not part.bundle.has("lib", "libgradus_cuda_sim.so") or not part.bundle.has("bin"):
        missing(part, "this bundle carries no simulator")
    else:
        check(part)
        bench(part)
    engine(part, "tiny", "cpu")
    engine(part, "tiny", "cuda-sim")
    engine(part, "T", "cpu", "--small")
    engine(part, "grpo-7b", "cpu", "--small")
    recipe(part, "cpu", SHORT_RECIPE)


# How much of a run each part may take, in seconds, in the order in which they run; one that runs alone has all of it.
# Random weights of 7.6 B parameters take a minute or more to make: parts of 0 seconds run when they are named.
PARTS = {
    "cpu": (cpu, 180),
    "check": (check, 100),
    "bench": (bench, 180),
    "engine": (engines, 170),
    "sanitizer": (sanitizer, 75),
    "engine-7b": (engine_7b, 0),
    "grpo-7b": (grpo_7b, 0),
}
