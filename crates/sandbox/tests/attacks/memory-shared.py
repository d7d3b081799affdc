# attack: {"tries": "fills a memfd and shared pages, which no address space counts", "outcomes": ["exited", "memory-limit", "signalled"], "done": false, "limits": {"cpuMs": 3000, "wallMs": 2000}}
def fill():
    descriptor = os.memfd_create("x")
    block = bytes(1 << 20)
    for _ in range(2 * given["limits"]["memoryMiB"]):
        os.write(descriptor, block)
    return os.fstat(descriptor).st_size
attempt("memfd of bytes", fill)
def shared():
    import mmap
    for count in range(2 * given["limits"]["memoryMiB"] // 16):
        area = mmap.mmap(-1, 16 << 20, flags=mmap.MAP_SHARED | mmap.MAP_ANONYMOUS)
        area[:] = bytes(len(area))
        held.append(area)
    return 16 * len(held)
held = []
attempt("shared MiB", shared)
done()
