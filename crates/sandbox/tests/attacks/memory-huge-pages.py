# attack: {"tries": "takes the host's huge pages, which no limit of memory covers", "outcomes": ["exited"]}
HUGE = 0x40000
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
for flags in (0x22, 0x21):
    address = libc.mmap(None, 2 << 20, 3, flags | HUGE, -1, 0)
    if ctypes.get_errno() != errno.EPERM:
        leak(f"mapping with flags {flags:#x}: {address}, {os.strerror(ctypes.get_errno())}")
done()
