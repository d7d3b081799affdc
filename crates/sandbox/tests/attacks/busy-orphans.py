# attack: {"tries": "hides processor time in orphans that nobody waited for", "outcomes": ["cpu-limit", "wall-limit"], "done": false}
def burn():
    end = time.process_time() + 0.02
    while time.process_time() < end:
        pass
    os._exit(0)
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
while True:
    child = os.fork()
    if child == 0:
        if os.fork() == 0:
            burn()
        os._exit(0)
    time.sleep(0.02)
