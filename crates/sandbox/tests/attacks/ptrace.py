# attack: {"tries": "attaches to other processes and reads them", "outcomes": ["exited", "signalled"], "pidsKept": true}
PTRACE_PEEKDATA, PTRACE_ATTACH, PTRACE_SEIZE = 2, 16, 0x4206
others = {os.getppid(), given["daemonPid"], given["canaryPid"], *range(1, 40)} - {0, os.getpid()}
def attach(kind):
    for number in others:
        try:
            if syscall(101, kind, number, 0, 0) == 0:
                return number
        except OSError:
            pass
attempt_apart("attached to", lambda: attach(PTRACE_ATTACH))
attempt_apart("seized", lambda: attach(PTRACE_SEIZE))
done()
