# attack: {"tries": "stops a child and waits for it: nothing runs, nothing ends", "outcomes": ["wall-limit"], "done": false}
child = os.fork()
if child == 0:
    os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(1000)
os.waitpid(child, 0)
