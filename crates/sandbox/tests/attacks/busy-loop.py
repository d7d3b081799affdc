# attack: {"tries": "computes for ever", "outcomes": ["cpu-limit"], "done": false}
while True:
    pass
