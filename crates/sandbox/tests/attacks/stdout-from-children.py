# attack: {"tries": "lets many children write at once", "outcomes": ["output-limit"], "done": false}
for _ in range(8):
    if os.fork() == 0:
        break
while True:
    os.write(1, b"z" * 65536)
