# attack: {"tries": "computes for ever in threads that release the interpreter", "outcomes": ["cpu-limit"], "done": false}
import hashlib
block = bytes(1 << 20)
def work():
    while True:
        hashlib.sha256(block).digest()
for _ in range(4):
    threading.Thread(target=work).start()
