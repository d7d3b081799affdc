# attack: {"tries": "returns in two processes at once", "outcomes": ["exited"], "mode": "calls", "done": false}
import os
def attack(given):
    return "child" if os.fork() == 0 else "parent"
