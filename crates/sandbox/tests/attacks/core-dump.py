# attack: {"tries": "asks for a core dump and dies", "outcomes": ["signalled", "exited"]}
import resource
done()
attempt("core", lambda: resource.setrlimit(resource.RLIMIT_CORE, (1 << 20, 1 << 20)) or resource.getrlimit(resource.RLIMIT_CORE))
libc.prctl(4, 1, 0, 0, 0)
signal.signal(signal.SIGSEGV, signal.SIG_DFL)
ctypes.string_at(0)
