# The walls that a test's process raises around itself, in the order in which each still has the right to do so.
# First part of the zygote's program (src/spawn.rs joins the parts); runs in the test's process before the program.
import ctypes
import os
import resource
import sys

libc = ctypes.CDLL(None, use_errno=True)

CONTROL_FD, NAMESPACE_FD, LANDLOCK_FD = 3, 4, 5
CLONE_NEWNS, CLONE_NEWPID = 0x20000, 0x20000000
MS_NOSUID, MS_NODEV, MS_NOEXEC = 2, 4, 8
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 1, 4, 22, 24, 38
SECCOMP_MODE_FILTER = 2
SYS_CAPSET, SYS_CLOSE_RANGE, SYS_LANDLOCK_RESTRICT_SELF = 126, 436, 446
CAPABILITY_VERSION_3 = 0x20080522
SIGKILL, EINVAL = 9, 22
THREAD_STACK_BYTES = 8 << 20
INODES_PER_MIB = 64
FILES_MAX = 128
# A dump into a file needs a page; a dump into a program of the host is refused at 1 and, oddly, not at 0.
CORE_BYTES = 1
# Address space beyond the memory limit: the interpreter's own mappings and stacks that are reserved but never used.
ADDRESS_SPACE_SLACK_MIB = 1024


class FilterProgram(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p)]


def check(result, step):
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{step}: {os.strerror(number)}")
    return result


def settle():
    """Once, in the zygote: what tests inherit and nothing gives back."""
    check(libc.prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0), "prctl PDEATHSIG")
    check(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl NO_NEW_PRIVS")
    for capability in range(64):
        if libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0:
            if ctypes.get_errno() != EINVAL:
                check(-1, "prctl CAPBSET_DROP")
            break
    # A thread's stack would else be as large as the main one's limit and not fit the limit of address space.
    attributes = ctypes.create_string_buffer(128)
    libc.pthread_attr_init(attributes)
    libc.pthread_attr_setstacksize(attributes, ctypes.c_size_t(THREAD_STACK_BYTES))
    libc.pthread_setattr_default_np(attributes)


def confine(config, run, has_landlock):
    """Gives up every right. After this the process can do only what the program may do."""
    check(libc.unshare(CLONE_NEWNS), "unshare the mount namespace")
    mebibytes = run["file_mib"]
    inodes = max(64, min(mebibytes * INODES_PER_MIB, 1 << 16))
    uid = config["uid"]
    options = f"size={mebibytes}m,nr_inodes={inodes},mode=0700,uid={uid},gid={uid}".encode()
    folder = config["run_folder"]
    flags = MS_NOSUID | MS_NODEV | MS_NOEXEC
    check(libc.mount(b"tmpfs", folder.encode(), b"tmpfs", flags, options), "mount the working directory")
    os.chdir(folder)
    limit(config, run)
    if uid != 0:
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    check(libc.syscall(SYS_CAPSET, header, (ctypes.c_uint32 * 6)()), "capset")
    check(libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0), "prctl DUMPABLE")
    check(libc.prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0), "prctl PDEATHSIG")
    if has_landlock:
        check(libc.syscall(SYS_LANDLOCK_RESTRICT_SELF, LANDLOCK_FD, 0), "landlock_restrict_self")
    for program in config["filters"]:
        check(libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0), "prctl SECCOMP")


def limit(config, run):
    address_space = (run["memory_mib"] + ADDRESS_SPACE_SLACK_MIB) << 20
    cpu_seconds = run["cpu_ms"] // 1000 + 3
    limits = [
        (resource.RLIMIT_CPU, cpu_seconds),
        (resource.RLIMIT_AS, address_space),
        (resource.RLIMIT_FSIZE, run["file_mib"] << 20),
        (resource.RLIMIT_NOFILE, FILES_MAX),
        (resource.RLIMIT_NPROC, run["processes"] + config["own_processes"]),
        (resource.RLIMIT_CORE, CORE_BYTES),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
    ]
    for which, value in limits:
        hard = resource.getrlimit(which)[1]
        most = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(which, (most, most))


def close_all_from(first):
    check(libc.syscall(SYS_CLOSE_RANGE, ctypes.c_uint(first), ctypes.c_uint(0xFFFFFFFF), 0), "close_range")


def filter_program(text):
    """A seccomp program in the form that prctl takes; the bytes stay alive with it."""
    code = bytes.fromhex(text)
    return FilterProgram(len(code) // 8, code)


