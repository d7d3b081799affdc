# attack: {"tries": "becomes another user, and takes capabilities", "outcomes": ["exited", "signalled"]}
class Header(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]
held = (ctypes.c_uint32 * 6)()
header = Header(0x20080522, 0)
libc.capget(ctypes.byref(header), held)
if any(held):
    leak(f"capabilities {[hex(word) for word in held]}")
if libc.prctl(39, 0, 0, 0, 0) != 1:
    leak("new privileges are possible")
def become(deed):
    deed()
    libc.capget(ctypes.byref(header), held)
    return any(held) and f"capabilities {[hex(word) for word in held]}"
attempt_apart("setuid", lambda: become(lambda: os.setuid(0)))
attempt_apart("setresuid", lambda: become(lambda: os.setresuid(0, 0, 0)))
attempt_apart("setgid", lambda: become(lambda: os.setgid(0)))
attempt_apart("another user", lambda: os.getuid() != 12345 and os.setresuid(12345, 12345, 12345) or os.getuid() == 12345 and "uid 12345")
attempt_apart("groups", lambda: os.setgroups([0, 27]) or os.getgroups())
attempt_apart("capset", lambda: libc.capset(ctypes.byref(header), (ctypes.c_uint32 * 6)(*[0xffffffff] * 6)) == 0 and "capset")
attempt_apart("ambient", lambda: libc.prctl(47, 2, 21, 0, 0) == 0 and "ambient")
attempt_apart("securebits", lambda: libc.prctl(28, 0, 0, 0, 0) == 0 and "securebits")
os.chmod(".", 0o7777)
done()
