# attack: {"tries": "keeps shared memory by one page that it leaves mapped", "outcomes": ["exited", "memory-limit", "signalled"], "done": false, "limits": {"cpuMs": 3000, "wallMs": 2000}}
PAGE, AREA = 4096, 16 << 20
SHARED, ANONYMOUS = 1, 0x20
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
def hold(descriptor, flags):
    held = 0
    while held < 2 * given["limits"]["memoryMiB"] << 20:
        address = libc.mmap(None, AREA, 3, SHARED | flags, descriptor, 0)
        if address == ctypes.c_void_p(-1).value:
            raise OSError(ctypes.get_errno(), "mmap")
        ctypes.memset(address, 1, AREA)
        libc.munmap(address + PAGE, AREA - PAGE)
        held += AREA
    return f"{held >> 20} MiB"
attempt("anonymous", lambda: hold(-1, ANONYMOUS))
attempt("anonymous, validated", lambda: hold(-1, ANONYMOUS | 2))
attempt("/dev/zero", lambda: hold(os.open("/dev/zero", os.O_RDWR), 0))
done()
