# attack: {"tries": "makes namespaces of its own, where it would be root", "outcomes": ["exited", "signalled"]}
for name, flag in (("user", 0x10000000), ("mount", 0x20000), ("pid", 0x20000000), ("network", 0x40000000), ("ipc", 0x8000000), ("uts", 0x4000000), ("cgroup", 0x2000000), ("time", 0x80)):
    attempt_apart(f"unshare {name}", lambda: succeeds(272, flag))
    attempt_apart(f"unshare user and {name}", lambda: succeeds(272, flag | 0x10000000))
    def clone():
        child = syscall(56, flag | signal.SIGCHLD, 0, 0, 0, 0)
        if child == 0:
            os._exit(0)
        return f"child {child}"
    # As a flag of clone, that of time namespaces is part of a signal's number.
    if name != "time":
        attempt_apart(f"clone {name}", clone)
    def clone3():
        arguments = struct.pack("QQQQQQQQ", flag, 0, 0, 0, signal.SIGCHLD, 0, 0, 0)
        child = syscall(435, ctypes.create_string_buffer(arguments, 64), 64)
        if child == 0:
            os._exit(0)
        return f"child {child}"
    attempt_apart(f"clone3 {name}", clone3)
for path in ("/proc/1/ns/mnt", "/proc/self/ns/net", "/proc/1/ns/pid"):
    attempt_apart(f"setns {path}", lambda: succeeds(308, os.open(path, os.O_RDONLY), 0))
attempt_apart("setns by pidfd", lambda: succeeds(308, syscall(434, 1, 0), 0x20000))
done()
