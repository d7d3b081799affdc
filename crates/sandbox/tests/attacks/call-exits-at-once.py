# attack: {"tries": "ends the process inside the function", "outcomes": ["exited"], "mode": "calls", "done": false, "answers": []}
import os
def attack(given):
    os._exit(0)
