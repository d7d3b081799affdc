# attack: {"tries": "walks frames and all objects for our own Python, other tests and secrets", "outcomes": ["exited"]}
import gc
needles = (given["needle"], given["earlier"])
frame = sys._getframe()
found = []
while frame is not None:
    found.append(dict(frame.f_globals))
    found.append(dict(frame.f_locals))
    frame = frame.f_back
own = json.dumps(given)
for number, item in enumerate([*gc.get_objects(), *found]):
    pieces = [item] if isinstance(item, (str, bytes)) else list(item.values()) if isinstance(item, dict) else list(item) if isinstance(item, (list, tuple, set)) else []
    for piece in pieces:
        if isinstance(piece, bytes):
            piece = piece.decode("latin-1")
        if isinstance(piece, str) and piece not in needles and any(needle in piece for needle in needles) and "earlier" not in piece and piece not in given.values():
            leak(f"an object {piece[:60]}")
done()
