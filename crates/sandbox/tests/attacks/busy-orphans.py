# attack: {"tries": "hides processor time in orphans that nobody waited for", "outcomes": ["cpu-limit", "wall-limit"], "done": false}
def burn():
    end = time.process_time() + 0.02
    while time.process_time() < end:
        pass
    os._exit(0)
attempt("ignored children", lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN) and None)
while True:
    try:
        child = os.fork()
        if child == 0:
            if os.fork() == 0:
                burn()
            os._exit(0)
    except BlockingIOError:
        if os.getpid() != 1:
            os._exit(0)
        os.waitpid(-1, 0)
    time.sleep(0.02)
