# attack: {"tries": "forks twice with setsid, closes everything and goes on working for good", "outcomes": ["exited"]}
done()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        libc.prctl(1, 0, 0, 0, 0)
        os.closerange(0, 64)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        while True:
            time.sleep(0.01)
    os._exit(0)
os._exit(0)
