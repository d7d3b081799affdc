# attack: {"tries": "flushes the host's files, takes its asynchronous requests, lists its mounts, makes calls newer than the filter", "outcomes": ["exited"]}
space = ctypes.create_string_buffer(4096)
attempt("sync", lambda: succeeds(162))
attempt("syncfs", lambda: succeeds(306, os.open(".", os.O_RDONLY)))
attempt("io_setup", lambda: succeeds(206, 65536, ctypes.create_string_buffer(8)))
# struct mnt_id_req: size, unused, mount (all of the root's), mask of what to tell.
request = ctypes.create_string_buffer(struct.pack("=IIQQ", 24, 0, 0xFFFFFFFFFFFFFFFF, 0))
attempt("listmount", lambda: succeeds(458, request, space, 64, 0))
attempt("statmount", lambda: succeeds(457, ctypes.create_string_buffer(struct.pack("=IIQQ", 24, 0, 1, 1)), space, 4096, 0))
for number in range(467, 520):
    try:
        syscall(number, -1, 0, 0, 0, 0, 0)
        leak(f"system call {number}")
    except OSError as error:
        if error.errno != errno.ENOSYS:
            leak(f"system call {number}: {error}")
done()
