# attack: {"tries": "writes to stdin and reads from stdout, to reach who is at the other end", "outcomes": ["exited"]}
attempt("wrote to stdin", lambda: os.write(0, b"x"))
attempt("read from stdout", lambda: os.set_blocking(1, False) or os.read(1, 16))
attempt("read from stderr", lambda: os.set_blocking(2, False) or os.read(2, 16))
attempt("socket at stdin", lambda: socket.socket(fileno=0).getsockname())
os.set_blocking(1, True)
os.set_blocking(2, True)
done()
