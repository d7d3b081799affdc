"""What the bundle meets: its own programs, unpacked; Bun; the GPU. And programs run within their time, their output followed line by line."""

import ctypes
import hashlib
import json
import lzma
import os
import shutil
import signal
import subprocess
import tarfile
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
PR_SET_PDEATHSIG = 1
libc = ctypes.CDLL(None)
running = []


class Finished:
    """How a program ended: exit code (None where its time ran out), what it printed, and why lines of it could not be taken."""

    def __init__(self, code, out, err, refused):
        self.code, self.out, self.err, self.refused = code, out, err, refused

    def outcome(self):
        if self.refused:
            return f"{len(self.refused)} lines could not be taken: {self.refused[0]}"
        return "it ran over its time" if self.code is None else f"exit code {self.code}"

    def told(self):
        """The outcome with the last line that says why."""
        for text in (self.err, self.out):
            lines = [line for line in text.strip().splitlines() if line.strip()]
            if lines:
                return f"{self.outcome()}, {lines[-1].strip()[:300]}"
        return f"{self.outcome()}, it printed nothing"


def scratch_folder():
    """A folder of this user's own for this very bundle, where programs may be written and run; the bundle's folder stays as it is."""
    with open(os.path.join(HERE, "bundle.json"), "rb") as file:
        name = f"gradus-gpu-bundle-{os.getuid()}-{hashlib.sha256(file.read()).hexdigest()[:12]}"
    for parent in (tempfile.gettempdir(), os.environ.get("HOME", ""), os.getcwd()):
        if not os.path.isdir(parent) or os.statvfs(parent).f_flag & os.ST_NOEXEC:
            continue
        folder = os.path.join(parent, name)
        try:
            os.makedirs(folder, mode=0o700, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK) and os.stat(folder).st_uid == os.getuid():
            return folder
    raise SystemExit("run.sh: no folder to unpack into: neither TMPDIR, HOME nor the working folder can be written and run from")


class Bundle:
    """The bundle's programs and files: beside this file, or unpacked once where they came packed."""

    def __init__(self):
        self.scratch = None
        self.folder = HERE
        packed = os.path.join(HERE, "payload.tar.xz")
        if os.path.exists(packed):
            self.folder = self.made("payload", lambda fresh: extract(packed, fresh))

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def has(self, *names):
        return os.path.exists(self.path(*names))

    def made(self, name, make):
        """What `make` puts at a path, made whole and once for this bundle."""
        if self.scratch is None:
            self.scratch = scratch_folder()
        target = os.path.join(self.scratch, name)
        if not os.path.exists(target):
            fresh = f"{target}.{os.getpid()}"
            make(fresh)
            os.rename(fresh, target)
        return target

    def bun(self):
        """The Bun to run: GRADUS_BUN, else the packed one, else that on PATH, else None."""
        given = os.environ.get("GRADUS_BUN")
        packed = os.path.join(HERE, "bun.xz")
        if given or not os.path.exists(packed):
            return given or shutil.which("bun")
        return self.made("bun", lambda fresh: decompress(packed, fresh))

    def environment(self):
        env = dict(os.environ, GRADUS_CUDA_SIM=self.path("lib", "libgradus_cuda_sim.so"), GRADUS_GOLDEN=self.path("golden"))
        if self.has("gradus.kernels"):
            env["GRADUS_KERNELS"] = self.path("gradus.kernels")
        return env

    def run(self, command, deadline, env=None, stdin=None, folder=None, each=None):
        """Runs a program until `deadline`; `each` gets every line of its output as it comes. All that it started ends with it."""
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env={**self.environment(), **(env or {})},
            cwd=folder,
            start_new_session=True,
            # Whoever kills this script, even at once, leaves nothing running on the GPU.
            preexec_fn=lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL),
        )
        out, err, refused = [], [], []
        followers = [threading.Thread(target=follow, args=given, daemon=True) for given in ((process.stdout, out, each, refused), (process.stderr, err, None, refused))]
        for follower in followers:
            follower.start()
        code = None
        try:
            if stdin:
                feed(process.stdin, stdin)
            code = process.wait(timeout=max(1.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            pass
        finally:
            end(process)
            for follower in followers:
                follower.join(timeout=5)
        return Finished(code, "".join(out), "".join(err), refused)


def extract(packed, target):
    with tarfile.open(packed) as archive:
        # Newer versions of Python ask for a filter; older ones have none.
        archive.extractall(target, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))


def decompress(packed, target):
    with lzma.open(packed) as source, open(target, "wb") as sink:
        shutil.copyfileobj(source, sink, 1 << 20)
    os.chmod(target, 0o755)


def feed(pipe, text):
    try:
        pipe.write(text)
        pipe.close()
    except BrokenPipeError:
        pass  # The program ended before it read; its exit code tells.


def follow(stream, kept, each, refused):
    for line in stream:
        kept.append(line)
        if each:
            try:
                each(line)
            except Exception as error:  # Whatever is wrong with one line, the others are still to be taken.
                refused.append(f"{error!r} of {line.strip()[:200]}")


def end(process):
    """Kills a program with its whole session, and takes its status."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def json_row(line):
    """The object that a line holds, or None; a line may be cut off with its program."""
    if line.startswith("{"):
        try:
            return json.loads(line)
        except ValueError:
            pass
    return None


def find_gpu(bundle):
    """Name, driver and memory of the first GPU; or None with the reason."""
    if shutil.which("nvidia-smi") is None:
        return None, "there is no nvidia-smi, so no NVIDIA driver"
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader,nounits"]
    finished = bundle.run(query, time.monotonic() + 20)
    fields = [field.strip() for field in finished.out.split("\n")[0].split(",")]
    try:
        name, driver, mib = fields
        memory = float(mib) / 1024
    except ValueError:
        return None, f"nvidia-smi: {finished.told()}"
    if finished.code != 0:
        return None, f"nvidia-smi: {finished.told()}"
    return {"name": name, "driver": driver, "memory_gib": memory}, ""
