"""Runs the parts of the GPU bundle, each within its own time, and prints one table whose last line is JSON.

A part that fails or runs over its time does not stop the others. The whole ends within nine minutes: what is still running is ended, and
what was found is printed. Without a GPU the parts that need one say so, and `cpu` runs.
"""

import argparse
import json
import lzma
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
SECONDS_MAX = 530
# Seconds that a part may take, in the order in which they run. One that runs alone has all the time.
PARTS = {"cpu": 60, "check": 100, "sanitizer": 80, "bench": 200, "engine": 200, "engine-7b": 0}
# Random weights of 7.6 B parameters take minutes to make: it runs alone, when it is named.
ALONE = "engine-7b"
# The recipe with few steps, for machines where it would take minutes.
SHORT_RECIPE = ["--sft.steps", "20", "--rl.stages.0.end.steps", "2", "--rl.stages.1.end.steps", "2"]
NEEDS_GPU = ("check", "sanitizer", "bench", "engine", ALONE)
# Share of the limit, or ratio to the peer, that the first set of kernels is to reach.
TARGETS = {
    "matmul_forward": ("peer", 0.6),
    "matmul_backward_input": ("peer", 0.6),
    "matmul_backward_weight": ("peer", 0.6),
    "attention_forward": ("least", 300),
    "attention_backward": ("least", 150),
    "attention_decode": ("limit", 0.85),
    "head_loss": ("limit", 0.85),
    "adamw": ("limit", 0.85),
    "rms_norm": ("limit", 0.85),
    "rope": ("limit", 0.85),
    "swiglu": ("limit", 0.85),
}

began = time.monotonic()
rows = []
states = {}
running = []


def unpacked():
    """The folder with the programs: where payload.tar.xz was unpacked, once, or this one where nothing is packed."""
    packed = os.path.join(HERE, "payload.tar.xz")
    if not os.path.exists(packed):
        return HERE
    target = os.path.join(writable_folder(), "gradus-gpu-bundle-" + str(int(os.stat(packed).st_mtime)))
    if not os.path.isdir(target):
        fresh = f"{target}.{os.getpid()}"
        with tarfile.open(packed) as archive:
            archive.extractall(fresh)
        os.rename(fresh, target)
    return target


def writable_folder():
    return HERE if os.access(HERE, os.W_OK) else os.environ.get("TMPDIR", "/tmp")


def path(*names):
    return os.path.join(programs, *names)


def note(part, state, text):
    """A part's outcome: the worst of what is told of it stands."""
    order = ["passed", "missing", "failed"]
    known = states.get(part, {"state": "passed", "notes": []})
    known["state"] = max(known["state"], state, key=order.index)
    if text:
        known["notes"].append(text)
        print(f"{part}: {state}: {text}", file=sys.stderr)
    states[part] = known


def environment():
    env = dict(os.environ, GRADUS_CUDA_SIM=path("lib", "libgradus_cuda_sim.so"))
    if os.path.exists(path("gradus.kernels")):
        env["GRADUS_KERNELS"] = path("gradus.kernels")
    return env


def run(command, deadline, env=None, stdin=None, folder=None):
    """(exit code or None where time ran out, stdout, stderr). Everything that the command started ends with it."""
    seconds = max(1.0, deadline - time.monotonic())
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**environment(), **(env or {})},
        cwd=folder,
        start_new_session=True,
    )
    running.append(process)
    code = None
    try:
        out, err = process.communicate(stdin, timeout=seconds)
        code = process.returncode
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
    running.remove(process)
    return code, out, err


def json_lines(text):
    found = []
    for line in text.splitlines():
        if line.startswith("{"):
            try:
                found.append(json.loads(line))
            except ValueError:
                pass  # A line that was cut off with its program.
    return found


def last_line(*texts):
    for text in texts:
        lines = [line for line in text.strip().splitlines() if line.strip()]
        if lines:
            return lines[-1][:300]
    return "it printed nothing"


def outcome(code):
    return "it ran over its time" if code is None else f"exit code {code}"


def gpu():
    """(name, driver version, MiB) of the first GPU, or None with the reason."""
    if shutil.which("nvidia-smi") is None:
        return None, "there is no nvidia-smi, so no NVIDIA driver"
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader,nounits"]
    code, out, err = run(query, time.monotonic() + 20)
    if code != 0 or not out.strip():
        return None, last_line(err, out)
    name, driver, mib = (field.strip() for field in out.splitlines()[0].split(","))
    return {"name": name, "driver": driver, "memory_gib": float(mib) / 1024}, ""


def unpacked_bun():
    """The Bun to run: GRADUS_BUN, else the packed one, unpacked once into a folder that can be written."""
    given = os.environ.get("GRADUS_BUN")
    if given:
        return given
    packed = os.path.join(HERE, "bun.xz")
    if not os.path.exists(packed):
        return shutil.which("bun")
    target = os.path.join(writable_folder(), "bun")
    if not os.path.exists(target):
        fresh = f"{target}.{os.getpid()}"
        with lzma.open(packed) as source, open(fresh, "wb") as sink:
            shutil.copyfileobj(source, sink, 1 << 20)
        os.chmod(fresh, 0o755)
        os.rename(fresh, target)
    return target


def engine(part, arguments, deadline):
    """Runs the TypeScript's engine parts; its rows are kept also where it fails."""
    if not os.path.exists(path("engine.js")):
        return note(part, "missing", "this bundle carries no engine.js")
    bun = unpacked_bun()
    if bun is None:
        return note(part, "missing", "there is no Bun: neither bun.xz in the bundle nor GRADUS_BUN nor bun on PATH")
    code, out, err = run([bun, path("engine.js"), *arguments], deadline)
    for row in json_lines(out):
        rows.append({"part": part, **row})
        if row.get("ok") is False:
            note(part, "failed", f"{row['work']}: {row.get('note')}")
    note(part, "passed" if code == 0 else "failed", "" if code == 0 else f"engine {' '.join(arguments)}: {outcome(code)}, {last_line(err, out)}")


def part_check(deadline):
    """The tests of the ops on the GPU, and the large checks: a row each."""
    for name in sorted(os.listdir(path("bin"))):
        if not name.startswith("test_") and name != "check_large":
            continue
        command = [path("bin", name)] + (["--test-threads=1"] if name.startswith("test_") else [])
        code, out, err = run(command, deadline, {"GRADUS_TEST_DEVICE": "cuda"})
        for line in out.splitlines():
            words = line.split()
            if len(words) == 4 and words[0] == "test" and words[2] == "...":
                rows.append({"part": "check", "work": f"{name} {words[1]}", "ok": words[3] == "ok"})
        large_checks("check", out)
        note("check", "passed" if code == 0 else "failed", "" if code == 0 else f"{name}: {outcome(code)}, {panics(out) or last_line(err, out)}")


def panics(out):
    """What failed tests said, each in a line."""
    lines = out.splitlines()
    return "; ".join(after[:200] for line, after in zip(lines, lines[1:]) if "panicked at" in line)


def large_checks(part, out):
    rows.extend({"part": part, "work": row["check"], "ok": row["ok"], "note": row["note"]} for row in json_lines(out))


def part_sanitizer(deadline):
    tool = shutil.which("compute-sanitizer") or "/usr/local/cuda/bin/compute-sanitizer"
    if not os.path.exists(tool):
        return note("sanitizer", "missing", "compute-sanitizer is not on this machine")
    for name in ("memcheck", "racecheck"):
        for group in ("matmul", "attention", "loss", "memory"):
            command = [tool, "--tool", name, "--error-exitcode", "9", path("bin", "bench_ops"), group, "--small"]
            code, out, err = run(command, deadline)
            rows.append({"part": "sanitizer", "work": f"{name} {group}", "ok": code == 0})
            if code != 0:
                note("sanitizer", "failed", f"{name} of {group}: {outcome(code)}, {last_line(out, err)}")
    note("sanitizer", "passed", "")


def part_bench(deadline):
    limits = {}
    for group in ("matmul", "attention", "loss", "memory"):
        code, out, err = run([path("bin", "bench_ops"), group], deadline)
        ours = json_lines(out)
        if code != 0:
            note("bench", "failed", f"bench_ops {group}: {outcome(code)}, {last_line(err)}")
        code, out, err = run([sys.executable, os.path.join(HERE, "torch_ops.py")], deadline, stdin=json.dumps(ours))
        if code != 0:
            note("bench", "missing", f"torch_ops.py on {group}: {outcome(code)}, {last_line(err)}")
        found = json_lines(out)
        for limit in (row for row in found if "limit" in row):
            limits[limit["limit"]] = max(limits.get(limit["limit"], 0), limit["value"])
        peers = {row["index"]: row for row in found if "index" in row}
        rows.extend(bench_row(row, peers.get(index, {})) for index, row in enumerate(ours))
    for row in rows:
        if row["part"] == "bench":
            row["limit"] = limits.get(row["unit"])
            judge(row)
    note("bench", "passed", "")


def bench_row(row, peer):
    shape = " ".join(f"{key} {value}" for key, value in row["shape"].items())
    return {
        "part": "bench",
        "kind": row["kind"],
        "work": f"{row['kind']} {shape}",
        "unit": row["unit"],
        "ours": statistics.median(row["repeats"]),
        "repeats": row["repeats"],
        "peers": peer.get("peers", {}),
        "note": peer.get("note"),
    }


def judge(row):
    """Sets ratio to the best peer, share of the limit, and whether the target of the first set is met."""
    sign = -1 if row["unit"] == "ms" else 1
    best = max(row["peers"].values(), key=lambda value: sign * value, default=None)
    row["ratio"] = None if best is None else (row["ours"] / best) ** sign
    row["of_limit"] = row["ours"] / row["limit"] if row.get("limit") else None
    target = TARGETS.get(row["kind"])
    if target is None:
        return
    kind, least = target
    figure = {"peer": row["ratio"], "limit": row["of_limit"], "least": row["ours"]}[kind]
    row["target"], row["met"] = f"{least} {kind}", None if figure is None else figure >= least


def part_engine(deadline):
    # Each shape is a process of its own: what one leaves behind is not the next one's memory.
    for what in ("tiny", "qwen2.5-0.5b", "qwen2.5-1.5b"):
        engine("engine", [what, "cuda"], deadline)
    recipe("engine", "cuda", [], deadline)


def part_engine_7b(deadline):
    if device["memory_gib"] < 130:
        return note(ALONE, "missing", f"7B needs a GPU of 130 GiB, this one has {device['memory_gib']:.0f}")
    engine(ALONE, ["qwen2.5-7b", "cuda"], deadline)


def recipe(part, device, arguments, deadline):
    """`bun run train` from the bundle: the recipe tiny, or what `arguments` make of it."""
    bun = unpacked_bun()
    program = path("recipe", "packages", "config", "src", "presets", "train.js")
    if bun is None or not os.path.exists(program):
        return note(part, "missing", "the recipe needs Bun and recipe/ in the bundle")
    with tempfile.TemporaryDirectory() as folder:
        command = [bun, program, "--preset", "tiny", "--device", device, "--dtype", "bf16", *arguments]
        code, out, err = run(command, deadline, folder=folder)
    said = [line.strip() for line in out.splitlines() if line.strip().startswith(("evaluation", "rl", "sft"))]
    work = " ".join(["recipe tiny", *arguments, "on", device])
    rows.append({"part": part, "work": work, "ok": code == 0, "note": f"{said[-1] if said else last_line(err, out)} ({outcome(code)})"})
    note(part, "passed" if code == 0 else "failed", "" if code == 0 else f"{work}: {outcome(code)}, {last_line(err, out)}")


def part_cpu(deadline):
    """What runs without a GPU: the programs start, the pack is read, the TypeScript takes a step on the CPU and on the simulator."""
    pack = path("gradus.kernels")
    if os.path.exists(pack):
        with open(pack, "rb") as file:
            whole = file.read(8) == b"GRADUSK1"
        rows.append({"part": "cpu", "work": "kernel pack", "ok": whole, "note": f"{os.path.getsize(pack)} bytes"})
        note("cpu", "passed" if whole else "failed", "" if whole else "gradus.kernels is no kernel pack")
    else:
        note("cpu", "missing", "this bundle carries no kernel pack")
    if os.path.exists(path("bin")):
        if os.path.exists(path("lib", "libgradus_cuda_sim.so")):
            for group in ("matmul", "attention", "loss", "memory"):
                code, out, err = run([path("bin", "bench_ops"), group, "--small", "--device", "cuda-sim"], deadline)
                ok = code == 0 and len(json_lines(out)) > 0
                rows.append({"part": "cpu", "work": f"bench_ops {group} on the simulator", "ok": ok})
                note("cpu", "passed" if ok else "failed", "" if ok else f"bench_ops {group}: {outcome(code)}, {last_line(err)}")
            code, out, err = run([path("bin", "check_large"), "--small", "--device", "cuda-sim"], deadline)
            large_checks("cpu", out)
            note("cpu", "passed" if code == 0 else "failed", "" if code == 0 else f"check_large: {outcome(code)}, {last_line(err)}")
        else:
            note("cpu", "missing", "this bundle carries no simulator")
    engine("cpu", ["tiny", "cpu"], deadline)
    recipe("cpu", "cpu", SHORT_RECIPE, deadline)


def table():
    """The rows as text, and everything as one line of JSON."""
    with open(os.path.join(HERE, "bundle.json")) as file:
        bundle = json.load(file)
    for row in rows:
        if "ours" in row:
            peers = ", ".join(f"{name} {value:.4g}" for name, value in row.get("peers", {}).items()) or "–"
            share = f"{100 * row['of_limit']:.0f}% of limit" if row.get("of_limit") else ""
            met = {True: "met", False: "NOT MET", None: ""}[row.get("met")]
            print(f"{row['part']:9} {row['work'][:84]:84} {row['ours']:10.4g} {row['unit']:8} {peers:44} {share:14} {met}")
        else:
            verdict = "ok" if row["ok"] else "FAILED"
            print(f"{row['part']:9} {row['work'][:84]:84} {verdict:>10} {row.get('note') or ''}")
    for part, state in states.items():
        print(f"{part:9} {state['state']}" + "".join(f"; {text}" for text in state["notes"]))
    whole = {**bundle, "device": device, "no_device": reason or None, "parts": states, "rows": rows}
    whole["seconds"] = round(time.monotonic() - began, 1)
    return json.dumps(whole)


def finish():
    line = table()
    print(line, flush=True)
    if arguments.out:
        with open(f"{arguments.out}.tmp", "w") as file:
            file.write(line + "\n")
        os.rename(f"{arguments.out}.tmp", arguments.out)
    os._exit(1 if any(state["state"] == "failed" for state in states.values()) else 0)


def watchdog(*_):
    for process in running:
        os.killpg(process.pid, signal.SIGKILL)
    note("whole", "failed", f"ended after {SECONDS_MAX} seconds")
    finish()


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--part", choices=list(PARTS), action="append", help="runs this part alone; may be given more than once")
parser.add_argument("--out", help="writes the JSON line to this file, too")
arguments = parser.parse_args()
signal.signal(signal.SIGALRM, watchdog)
signal.alarm(SECONDS_MAX)
programs = unpacked()
device, reason = gpu()
with open(os.path.join(HERE, "bundle.json")) as bundle_file:
    carried = json.load(bundle_file)["parts"]
chosen = arguments.part or [name for name in PARTS if name in carried and name != ALONE]
for part in chosen:
    if part not in carried:
        note(part, "missing", f"this bundle was made without it; `bun run gpu-pack --part {part}` makes one with it")
    elif part in NEEDS_GPU and device is None:
        note(part, "missing", f"it needs an NVIDIA GPU ({reason})")
    else:
        part_began = time.monotonic()
        try:
            end = began + SECONDS_MAX - 10
            seconds = PARTS[part] if len(chosen) > 1 and part != ALONE else SECONDS_MAX
            globals()["part_" + part.replace("-", "_")](min(part_began + seconds, end))
        except Exception as error:  # One part never stops the others.
            note(part, "failed", f"{type(error).__name__}: {error}")
        states.setdefault(part, {"state": "passed", "notes": []})["seconds"] = round(time.monotonic() - part_began, 1)
finish()
