# attack: {"tries": "gives itself priority and other processors", "outcomes": ["exited"]}
attempt("nice", lambda: os.nice(-5) or "lower")
attempt("realtime", lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)) or "fifo")
attempt("round robin", lambda: os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1)) or "rr")
attempt("priority of others", lambda: os.setpriority(os.PRIO_USER, 0, -1) or "user")
attempt("io priority", lambda: succeeds(251, 1, 0, (1 << 13) | 0))
for processor in range(os.cpu_count() or 1):
    try:
        os.sched_setaffinity(0, {processor})
    except OSError:
        pass
attempt("idle", lambda: os.nice(19) and None)
done()
