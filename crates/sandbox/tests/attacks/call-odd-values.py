# attack: {"tries": "returns a lone surrogate, NaN, infinity, a large integer, bytes", "outcomes": ["exited"], "mode": "calls", "done": false, "answers": [{"value": ["\ud800", {"f": "nan"}, {"f": "inf"}, {"i": "1000000000000000000000000000000"}, {"f": "-0.0"}, {"b": "00ff"}, {"c": ["0.0", "1.0"]}, {"s": [1]}, {"fs": [2]}, {"d": [[{"t": [1, 2]}, [3]]]}]}]}
def attack(given):
    return ["\ud800", float("nan"), float("inf"), 10**30, -0.0, b"\x00\xff", 1j, {1}, frozenset([2]), {(1, 2): [3]}]
