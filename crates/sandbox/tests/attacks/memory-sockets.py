# attack: {"tries": "keeps memory in the buffers of socket pairs, which it asks to be large", "outcomes": ["exited", "memory-limit", "signalled"], "limits": {"cpuMs": 3000, "wallMs": 2000}}
pairs, held = [], 0
def enlarge():
    one, other = socket.socketpair()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16 << 20)
    return one.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
attempt("buffer", enlarge)
try:
    while True:
        pairs.append(socket.socketpair())
        for end in pairs[-1]:
            end.setblocking(False)
            try:
                while True:
                    held += end.send(bytes(1 << 16))
            except BlockingIOError:
                pass
except OSError as error:
    if error.errno != errno.EMFILE:
        leak(f"pairs: {error}")
if held > given["limits"]["memoryMiB"] << 20:
    leak(f"{held >> 20} MiB")
done()
