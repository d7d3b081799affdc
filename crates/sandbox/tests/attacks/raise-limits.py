# attack: {"tries": "raises its own limits", "outcomes": ["exited"]}
import resource
for name in ("CPU", "AS", "FSIZE", "NOFILE", "NPROC", "CORE", "MEMLOCK", "NICE", "RTPRIO", "SIGPENDING", "MSGQUEUE"):
    kind = getattr(resource, f"RLIMIT_{name}")
    soft, hard = resource.getrlimit(kind)
    if hard != resource.RLIM_INFINITY:
        attempt(f"limit {name}", lambda: resource.setrlimit(kind, (hard + 1, hard + 1)) or resource.getrlimit(kind))
done()
