# attack: {"tries": "leaves a thread that never ends, so that the interpreter waits for it", "outcomes": ["wall-limit"], "done": false}
threading.Thread(target=time.sleep, args=(1000,)).start()
