# attack: {"tries": "waits for a lock that it holds", "outcomes": ["wall-limit"], "done": false}
lock = threading.Lock()
lock.acquire()
lock.acquire()
