# Stands before every attack that is run as a program: what it was told, how it boasts, how it calls the kernel.
# An attack prints LEAK:<what> where it got something, and `done` where it came to its end.
import ctypes
import errno
import json
import os
import signal
import socket
import struct
import sys
import threading
import time

given = json.loads(sys.stdin.readline())
libc = ctypes.CDLL(None, use_errno=True)


def leak(what):
    os.write(1, f"LEAK:{what}\n".encode())


def done():
    os.write(1, b"done\n")


def attempt(what, deed):
    """Does a deed; what it gives is a leak, an exception is a wall."""
    try:
        result = deed()
    except Exception:
        return
    if result:
        leak(f"{what}: {str(result)[:80]}")


def attempt_apart(what, deed):
    """The same in a child, for deeds that a wall may answer by killing who tries."""
    child = os.fork()
    if child == 0:
        attempt(what, deed)
        os._exit(0)
    os.waitpid(child, 0)


def syscall(number, *arguments):
    """The kernel's answer; raises OSError where it is an error."""
    words = [value if hasattr(value, "_type_") or isinstance(value, (bytes, ctypes.Array)) else ctypes.c_long(value) for value in arguments]
    result = libc.syscall(ctypes.c_long(number), *words)
    if result == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def succeeds(number, *arguments):
    """Whether the kernel did what was asked; 0 is a success too."""
    syscall(number, *arguments)
    return f"system call {number}"
