# attack: {"tries": "writes to stdout for ever", "outcomes": ["output-limit"], "done": false}
while True:
    os.write(1, b"y\n" * 32768)
