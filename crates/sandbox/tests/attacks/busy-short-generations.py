# attack: {"tries": "hides processor time in a chain of generations that each live a millisecond", "outcomes": ["cpu-limit"], "done": false, "limits": {"cpuMs": 1000, "wallMs": 400}}
attempt("ignored children", lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN) and None)
burnt = 0
if os.fork() == 0:
    while True:
        end = time.process_time() + 0.0008
        while time.process_time() < end:
            pass
        try:
            if os.fork() != 0:
                os._exit(0)
        except BlockingIOError:
            continue
        burnt += 0.0008
        if burnt > 1.2 * given["limits"]["cpuMs"] / 1000:
            leak(f"{burnt} s of processor time")
            os._exit(0)
while True:
    try:
        while os.waitpid(-1, os.WNOHANG)[0] != 0:
            pass
    except ChildProcessError:
        break
    time.sleep(0.01)
