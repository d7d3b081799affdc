# attack: {"tries": "leaves its session and group, then kills by the number of its old group", "outcomes": ["exited", "signalled"], "pidsKept": true}
group = os.getpgrp()
attempt("setsid", lambda: os.setsid())
attempt("setpgid", lambda: os.setpgid(0, 0))
done()
for number in (group, 1):
    attempt("killpg", lambda: os.killpg(number, signal.SIGKILL))
