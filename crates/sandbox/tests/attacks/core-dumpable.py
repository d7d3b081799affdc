# attack: {"tries": "lets itself be dumped again, so that a crash starts the host's handler", "outcomes": ["exited"]}
import resource
attempt("dumpable", lambda: succeeds(157, 4, 1, 0, 0, 0))
attempt("dumpable, high bits set", lambda: succeeds(157, 4 | 1 << 40, 1, 0, 0, 0))
attempt("is dumpable", lambda: libc.prctl(3, 0, 0, 0, 0) != 0 and "yes")
attempt("core size", lambda: max(resource.getrlimit(resource.RLIMIT_CORE)) > 1 and "more than a byte")
done()
