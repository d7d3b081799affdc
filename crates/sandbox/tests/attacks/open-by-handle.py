# attack: {"tries": "opens files by handle, past the root that it was given", "outcomes": ["exited", "signalled"]}
handle = ctypes.create_string_buffer(struct.pack("II", 128, 0) + bytes(128), 136)
mount = ctypes.c_int()
attempt_apart("name_to_handle_at and open_by_handle_at", lambda: succeeds(303, -100, ctypes.c_char_p(b"/"), handle, ctypes.pointer(mount), 0) and succeeds(304, os.open("/", os.O_RDONLY), handle, 0))
root = ctypes.create_string_buffer(struct.pack("II", 8, 1) + struct.pack("Q", 2) + bytes(120), 136)
for path in ("/", ".", sys.base_prefix):
    attempt_apart("open_by_handle_at", lambda: succeeds(304, os.open(path, os.O_RDONLY), root, 0))
done()
