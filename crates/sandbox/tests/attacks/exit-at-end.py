# attack: {"tries": "prints more in atexit, after the program is over", "outcomes": ["exited"]}
import atexit
atexit.register(lambda: print("done", flush=True))
atexit.register(lambda: os.write(1, b'{"verdict":"AC"}\n'))
