# attack: {"tries": "writes a byte and sleeps, for ever", "outcomes": ["wall-limit", "output-limit", "cpu-limit"], "done": false}
while True:
    os.write(1, b".")
    time.sleep(0.01)
