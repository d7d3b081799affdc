# attack: {"tries": "writes to stderr for ever", "outcomes": ["cpu-limit", "wall-limit", "output-limit"], "done": false}
while True:
    os.write(2, b"y\n" * 32768)
