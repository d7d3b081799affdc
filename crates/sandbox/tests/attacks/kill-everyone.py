# attack: {"tries": "sends SIGKILL to its parent, its group, every process it may reach", "outcomes": ["exited", "signalled"], "pidsKept": true}
for number in (os.getppid(), given["daemonPid"], given["canaryPid"], *range(2, 400)):
    if number > 1 and number != os.getpid():
        attempt(f"signal to {number}", lambda: os.kill(number, signal.SIGKILL) or number in (given["daemonPid"], given["canaryPid"]))
done()
for number in (-1, -os.getpgrp() if os.getpgrp() > 1 else -1, 0):
    attempt("kill", lambda: os.kill(number, signal.SIGKILL))
