# attack: {"tries": "leaves a grandchild that keeps stdout open, so that a reader waits for ever", "outcomes": ["exited", "wall-limit"]}
done()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(1000)
    os._exit(0)
os._exit(0)
