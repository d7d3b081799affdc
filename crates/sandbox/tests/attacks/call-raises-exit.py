# attack: {"tries": "raises what no `except Exception` catches", "outcomes": ["exited"], "mode": "calls", "done": false, "answersMax": 1}
def attack(given):
    raise KeyboardInterrupt
