# attack: {"tries": "reads and writes the memory of other processes", "outcomes": ["exited", "signalled"]}
buffer = ctypes.create_string_buffer(64)
local = (ctypes.c_size_t * 2)(ctypes.addressof(buffer), 64)
others = {os.getppid(), given["daemonPid"], given["canaryPid"], *range(1, 40)} - {0, os.getpid()}
def vm(number):
    for other in others:
        for address in (0x400000, 0x555555554000, 0x7ffff7dd0000):
            remote = (ctypes.c_size_t * 2)(address, 64)
            try:
                if syscall(number, other, local, 1, remote, 1, 0) > 0:
                    return other
            except OSError:
                pass
attempt_apart("read", lambda: vm(310))
attempt_apart("written", lambda: vm(311))
done()
