"""Runs a command where the kernel answers EPERM to some of its system calls: `deny.py namespaces|mounts|filters COMMAND…`.

`namespaces` is what Docker's default filter does without CAP_SYS_ADMIN: unshare, setns, clone with namespace flags, and
ENOSYS for clone3, whose flags a filter cannot see. The filter is inherited, so the whole daemon lives under it.
"""
import ctypes
import os
import struct
import sys

ALLOW, EPERM, ENOSYS = 0x7FFF0000, 0x00050001, 0x00050026
LOAD, EQUAL, ANY_BIT, RETURN = 0x20, 0x15, 0x45, 0x06
NEW_NAMESPACES = 0x7E020080
UNSHARE, SETNS, CLONE, CLONE3, MOUNT, UMOUNT, PIVOT_ROOT, FSOPEN, OPEN_TREE, MOVE_MOUNT, SECCOMP, PRCTL = (
    272, 308, 56, 435, 165, 166, 155, 430, 428, 429, 317, 157,
)


def instruction(code, value, if_true=0, if_false=0):
    return struct.pack("HBBI", code, if_true, if_false, value)


def refuse(number, answer=EPERM):
    """The number is in the accumulator before and after."""
    return [instruction(EQUAL, number, 0, 1), instruction(RETURN, answer)]


def refuse_argument(number, position, value, test):
    """Refuses a call whose argument passes the test; everything else goes on with the number loaded anew."""
    return [
        instruction(EQUAL, number, 0, 4),
        instruction(LOAD, 16 + 8 * position),
        instruction(test, value, 0, 1),
        instruction(RETURN, EPERM),
        instruction(RETURN, ALLOW),
    ]


filters = {
    "namespaces": [
        *refuse(UNSHARE),
        *refuse(SETNS),
        *refuse(CLONE3, ENOSYS),
        *refuse_argument(CLONE, 0, NEW_NAMESPACES, ANY_BIT),
    ],
    "mounts": [part for number in (MOUNT, UMOUNT, PIVOT_ROOT, FSOPEN, OPEN_TREE, MOVE_MOUNT) for part in refuse(number)],
    # PR_SET_SECCOMP is 22.
    "filters": [*refuse(SECCOMP), *refuse_argument(PRCTL, 0, 22, EQUAL)],
}

program = b"".join([instruction(LOAD, 0), *filters[sys.argv[1]], instruction(RETURN, ALLOW)])
held = ctypes.create_string_buffer(program)
block = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(held)))
libc = ctypes.CDLL(None, use_errno=True)
if libc.prctl(38, 1, 0, 0, 0) != 0 or libc.prctl(22, 2, block, 0, 0) != 0:
    sys.exit(f"the filter was not taken: {os.strerror(ctypes.get_errno())}")
os.execv(sys.argv[2], sys.argv[2:])
