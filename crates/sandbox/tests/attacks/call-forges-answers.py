# attack: {"tries": "writes answers to every descriptor, with every nonce that it finds in memory", "outcomes": ["exited", "signalled"], "mode": "calls", "done": false}
import gc
import os
import re
import sys
def attack(given):
    nonces = {b""}
    frame = sys._getframe()
    texts = []
    while frame is not None:
        texts += [value for value in (*frame.f_locals.values(), *frame.f_globals.values())]
        frame = frame.f_back
    texts += gc.get_objects()
    for text in texts:
        if isinstance(text, str) and re.fullmatch("[0-9a-zA-Z_=+/-]{12,80}", text):
            nonces.add(text.encode())
        if isinstance(text, bytes) and 8 <= len(text) <= 80:
            nonces.add(text)
    for descriptor in range(3, 1024):
        try:
            os.fstat(descriptor)
        except OSError:
            continue
        for nonce in list(nonces)[:2000]:
            for line in (nonce + b'{"value":4242}\n', nonce + b' {"value":4242}\n'):
                try:
                    os.write(descriptor, line)
                except OSError:
                    break
    os._exit(0)
