# attack: {"tries": "watches processes by performance counters", "outcomes": ["exited", "signalled"]}
attributes = ctypes.create_string_buffer(struct.pack("IIQ", 1, 112, 0) + bytes(112), 128)
for number in (0, -1, 1):
    attempt_apart(f"perf_event_open {number}", lambda: succeeds(298, attributes, number, -1 if number != -1 else 0, -1, 0))
done()
