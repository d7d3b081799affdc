# attack: {"tries": "adds filters of its own, which must not loosen ours", "outcomes": ["exited", "signalled"]}
attempt_apart("strict mode off", lambda: libc.prctl(22, 0, 0, 0, 0) == 0 and "mode 0")
attempt_apart("new privileges on", lambda: libc.prctl(38, 0, 0, 0, 0) == 0 and "privileges")
attempt_apart("seccomp listener", lambda: succeeds(317, 1, 8, ctypes.create_string_buffer(struct.pack("HxxxxxxQ", 1, 0), 16)))
done()
