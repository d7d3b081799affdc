# attack: {"tries": "does input and output by io_uring, past the filter of system calls", "outcomes": ["exited", "signalled"]}
parameters = ctypes.create_string_buffer(256)
attempt_apart("io_uring_setup", lambda: succeeds(425, 8, parameters))
attempt_apart("io_uring_enter", lambda: succeeds(426, 1, 1, 0, 0, 0, 0))
attempt_apart("io_uring_register", lambda: succeeds(427, -1, 0, 0, 0))
done()
