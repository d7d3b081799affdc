# attack: {"tries": "writes to every descriptor from 3 on, and reads them", "outcomes": ["exited"]}
frame = json.dumps({"type": "result", "id": 1, "outcome": "exited", "exitCode": 0, "blobs": [2, 0, 0]}).encode()
for descriptor in range(3, 1024):
    attempt(f"descriptor {descriptor} takes", lambda: os.write(descriptor, len(frame).to_bytes(4, "little") + (2).to_bytes(4, "little") + frame + b"42"))
    attempt(f"descriptor {descriptor} gives", lambda: os.read(descriptor, 16))
done()
