# attack: {"tries": "ends, sleeps and prints while it is being imported", "outcomes": ["exited"], "mode": "calls", "done": false, "answers": []}
import os
print('{"value":4242}', flush=True)
os._exit(0)
