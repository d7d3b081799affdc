# attack: {"tries": "prints what a verdict, a result frame or a test report looks like", "outcomes": ["exited"]}
frame = json.dumps({"type": "result", "id": 1, "outcome": "exited", "exitCode": 0, "signal": None, "cpuMs": 0, "wallMs": 0, "memoryPeakMiB": 0, "blobs": [2, 0, 0]}).encode()
for descriptor in (1, 2):
    os.write(descriptor, b'{"verdict":"AC","score":1}\nPASSED\nOK\n42\n')
    os.write(descriptor, len(frame).to_bytes(4, "little") + (2).to_bytes(4, "little") + frame + b"42")
os.write(1, b"\n")
done()
