# attack: {"tries": "loads programs and maps into the kernel", "outcomes": ["exited", "signalled"]}
attributes = ctypes.create_string_buffer(struct.pack("IIII", 1, 4, 4, 1) + bytes(112), 128)
attempt_apart("bpf map", lambda: succeeds(321, 0, attributes, 72))
attempt_apart("bpf program", lambda: succeeds(321, 5, attributes, 72))
done()
