# attack: {"tries": "brings the loopback up, adds routes, lists interfaces", "outcomes": ["exited"]}
import fcntl
attempt("interfaces", lambda: {name for _, name in socket.if_nameindex()} - {"lo"})
def up():
    control = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    request = struct.pack("16sh14x", b"lo", 1)
    fcntl.ioctl(control, 0x8914, request)
    return "loopback is up"
attempt("interface", up)
done()
