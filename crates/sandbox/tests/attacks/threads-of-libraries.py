# attack: {"tries": "lets a numeric library start a thread for each core of the host, as numpy's does by itself", "outcomes": ["exited"]}
libc.getenv.restype = ctypes.c_char_p
for name in (b"OPENBLAS_NUM_THREADS", b"OMP_NUM_THREADS"):
    if libc.getenv(name) != b"1":
        leak(f"{name} is {libc.getenv(name)}")
if os.environ:
    leak(f"environment {dict(os.environ)}")
done()
