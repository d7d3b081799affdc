# attack: {"tries": "fills a memfd and shared pages, which no address space counts", "outcomes": ["exited", "memory-limit", "signalled"], "done": false}
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
        for begin in range(0, len(area), 4096):
            area[begin] = 1
        held.append(area)
    return 16 * len(held)
held = []
attempt("shared MiB", shared)
done()
