# attack: {"tries": "stops its parent, its group, every process it may reach", "outcomes": ["exited", "signalled", "wall-limit"], "pidsKept": true, "done": false}
done()
for number in (os.getppid(), given["daemonPid"], given["canaryPid"], -1, 0):
    attempt("stop", lambda: os.kill(number, signal.SIGSTOP) if number != os.getpid() else None)
