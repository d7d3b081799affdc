# attack: {"tries": "returns at once and goes on in a thread", "outcomes": ["exited", "wall-limit"], "mode": "calls", "done": false}
import os
import threading
import time
def attack(given):
    def later():
        for descriptor in range(3, 64):
            try:
                os.write(descriptor, b'{"value":4242}\n')
            except OSError:
                pass
        time.sleep(1000)
    threading.Thread(target=later).start()
    return "first"
