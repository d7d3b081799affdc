# attack: {"tries": "returns values that are too deep, endless or their own part", "outcomes": ["exited", "signalled", "cpu-limit", "memory-limit"], "mode": "calls", "done": false}
def attack(given):
    deep = []
    for _ in range(10**6):
        deep = [deep]
    own = []
    own.append(own)
    return [deep, own, {"a": own}]
