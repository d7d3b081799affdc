# attack: {"tries": "opens netlink, packet, raw, vsock, alg, bluetooth and other families", "outcomes": ["exited", "signalled"]}
for family in range(1, 46):
    if family in (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6):
        continue
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW, socket.SOCK_SEQPACKET):
        def make():
            socket.socket(family, kind, 0).close()
            return f"family {family} kind {kind}"
        attempt("socket", make)
for family in range(2, 46):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
        try:
            socket.socketpair(family, kind)
            leak(f"pair of family {family} kind {kind}")
        except PermissionError:
            pass
        except OSError as error:
            leak(f"pair of family {family} kind {kind} came as far as {error}")
for protocol in (1, 6, 17, 255):
    attempt("raw", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, protocol))
attempt("icmp", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM, 1).sendto(b"\x08" + bytes(7), ("127.0.0.1", 0)))
done()
