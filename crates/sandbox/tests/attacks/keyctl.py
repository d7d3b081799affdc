# attack: {"tries": "keeps keys in keyrings that outlive it and reads those of others", "outcomes": ["exited", "signalled"]}
for ring in (-1, -2, -3, -4, -5):
    attempt_apart("add_key", lambda: succeeds(248, ctypes.c_char_p(b"user"), ctypes.c_char_p(b"gradus"), ctypes.c_char_p(b"x"), 1, ring))
    attempt_apart("keyctl read", lambda: succeeds(250, 11, ring, 0, 0, 0))
attempt_apart("request_key", lambda: succeeds(249, ctypes.c_char_p(b"user"), ctypes.c_char_p(b"gradus"), 0, 0))
done()
