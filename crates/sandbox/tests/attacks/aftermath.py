# The test after an attack: prints what it finds and can do, which must be what a test in a fresh worker finds.
# The first line of stdin says how much of its limits it may use.
import builtins
import ctypes
import hashlib
import json
import os
import sys
import threading
import time

limits = json.loads(sys.stdin.readline())
libc = ctypes.CDLL(None, use_errno=True)


def files_of(folder):
    found = []
    for path, folders, names in os.walk(folder):
        found += [os.path.join(path, name) for name in (*folders, *names)]
    return sorted(found)


def open_descriptors():
    found = []
    for descriptor in range(64):
        try:
            os.fstat(descriptor)
            found.append(descriptor)
        except OSError:
            pass
    return found


def answer_of_child(deed):
    """What a deed gives in a child of its own, so that it takes nothing from the next one."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writer, json.dumps(deed()).encode())
        finally:
            os._exit(0)
    os.close(writer)
    text = os.read(reader, 4096)
    os.close(reader)
    os.waitpid(child, 0)
    return json.loads(text)


def fill_disk():
    """Three quarters of the disk must be free, and some inodes."""
    block = bytes(1 << 20)
    with open("filled", "wb", buffering=0) as file:
        for _ in range(limits["fileMiB"] * 3 // 4):
            file.write(block)
    for number in range(100):
        open(f"file-{number}", "w").close()
    return os.path.getsize("filled")


def fill_memory():
    return len(b"x" * (limits["memoryMiB"] // 8 << 20))


def processes():
    """A quarter of the processes must be free."""
    children = []
    for _ in range(limits["processes"] // 4):
        child = os.fork()
        if child == 0:
            os._exit(0)
        children.append(child)
    return sum(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children)


def shared_objects():
    """System V objects that an earlier test left behind."""
    return [
        libc.shmget(0x67726164 + number, 0, 0) >= 0
        or libc.semget(0x67726164 + number, 0, 0) >= 0
        or libc.msgget(0x67726164 + number, 0) >= 0
        for number in range(4)
    ]


def work():
    block = bytes(1 << 16)
    for _ in range(20):
        block = hashlib.sha256(block).digest() * 2048
    return hashlib.sha256(block).hexdigest()


state = {
    "files": [files_of(folder) for folder in (".", "/tmp", "/dev/shm", "/var/tmp", "/run", "/home")],
    "working": os.getcwd(),
    "environment": dict(os.environ),
    "path": sys.path,
    "arguments": sys.argv,
    "planted": [name for name in ("sitecustomize", "usercustomize", "solution") if name in sys.modules],
    "builtins": hashlib.sha256(repr(sorted(vars(builtins))).encode()).hexdigest(),
    "kinds": [type(vars(builtins)[name]).__name__ for name in ("print", "len", "type", "open", "repr", "isinstance")],
    "json": json.dumps([1, "a"]),
    "recursion": sys.getrecursionlimit(),
    "threads": threading.active_count(),
    "user": [os.getuid(), os.getgid(), os.getgroups()],
    "process": [os.getpid(), os.getppid()],
    "umask": os.umask(0o22),
    "nice": os.getpriority(os.PRIO_PROCESS, 0),
    "affinity": sorted(os.sched_getaffinity(0)),
    "scheduler": os.sched_getscheduler(0),
    "host": os.uname().nodename,
    "descriptors": open_descriptors(),
    "shared": shared_objects(),
    "disk": answer_of_child(fill_disk),
    "memory": answer_of_child(fill_memory),
    "processes": processes(),
    "work": work(),
}
print(json.dumps(state))
