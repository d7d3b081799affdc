# Tries to break each wall from inside a test, as an untrusted program would, and prints one line of JSON for each:
# the wall, whether it held, and what happened.
import ctypes
import json
import os
import signal
import socket

libc = ctypes.CDLL(None, use_errno=True)


def attempt(wall, action):
    """Holds if the action fails as a refused one does."""
    try:
        detail = action()
        print(json.dumps({"name": wall, "holds": False, "detail": detail or "not refused"}))
    except OSError as error:
        print(json.dumps({"name": wall, "holds": True, "detail": str(error)}))


def call(number, *arguments):
    if libc.syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def read_host_file():
    for path in ("/etc/passwd", "/proc/1/environ", "/sys/kernel/uevent_helper"):
        if os.path.exists(path):
            return path + " is visible"
    raise OSError("no /etc, /proc or /sys")


def write_root():
    with open("/planted", "w"):
        pass


def see_others():
    if os.getpid() != 1 or os.getppid() != 0:
        return f"pid {os.getpid()}, parent {os.getppid()}"
    os.kill(2, 0)


def connect():
    with socket.socket() as one:
        one.settimeout(0.05)
        one.connect(("127.0.0.1", 22))


def execute():
    os.execv("/lib64/ld-linux-x86-64.so.2", ["ld"])


def gain_rights():
    held = (ctypes.c_uint32 * 6)()
    call(SYS_CAPGET, (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0), held)
    if any(held):
        return f"capabilities {list(held)}"
    os.setgroups([0])


def inherit():
    if os.environ:
        return f"environment {sorted(os.environ)}"
    for fd in range(3, 256):
        try:
            os.fstat(fd)
            return f"descriptor {fd}"
        except OSError:
            pass
    raise OSError("no environment, no descriptor above 2")


def fill_disk():
    with open("/tmp/fill", "wb") as file:
        for _ in range(64):
            file.write(bytes(1 << 20))
    return "wrote 64 MiB"


def fork_many():
    children = []
    try:
        while len(children) < 64:
            pid = os.fork()
            if pid == 0:
                signal.pause()
            children.append(pid)
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror} after {len(children)}") from None
    finally:
        for pid in children:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    return "64 processes"


CLONE_NEWUSER, SYS_UNSHARE = 0x10000000, 272
SYS_CAPGET, CAPABILITY_VERSION_3 = 125, 0x20080522
attempt("mount-namespace", read_host_file)
attempt("read-only-root", write_root)
attempt("pid-namespace", see_others)
attempt("network", connect)
attempt("execution", execute)
attempt("capabilities", gain_rights)
attempt("inheritance", inherit)
attempt("file-limit", fill_disk)
attempt("process-limit", fork_many)
attempt("seccomp", lambda: call(SYS_UNSHARE, CLONE_NEWUSER))
