# attack: {"tries": "writes a line of a gibibyte", "outcomes": ["output-limit"], "done": false}
block = "x" * (1 << 20)
for _ in range(1024):
    sys.stdout.write(block)
