# attack: {"tries": "exits inside the function, as if all were well", "outcomes": ["exited"], "mode": "calls", "done": false, "answersMax": 1}
import sys
def attack(given):
    sys.exit(0)
