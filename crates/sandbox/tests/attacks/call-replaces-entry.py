# attack: {"tries": "gives a different function for the next call and changes its arguments", "outcomes": ["exited"], "mode": "calls", "done": false, "answersMax": 1}
import sys
def attack(given):
    given.clear()
    sys.modules["__main__"].__dict__.clear()
    sys.modules.clear()
    return None
