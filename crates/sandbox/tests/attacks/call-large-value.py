# attack: {"tries": "returns far more than the output may have", "outcomes": ["exited", "output-limit", "memory-limit"], "mode": "calls", "done": false}
def attack(given):
    return ["x" * 1000] * 100000
