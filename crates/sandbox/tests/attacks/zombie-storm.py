# attack: {"tries": "leaves children that nobody waits for", "outcomes": ["exited"]}
for _ in range(300):
    try:
        if os.fork() == 0:
            os._exit(0)
    except OSError:
        break
done()
