# attack: {"tries": "lets children compute while it waits", "outcomes": ["cpu-limit"], "done": false}
for _ in range(4):
    if os.fork() == 0:
        while True:
            pass
while True:
    os.wait()
