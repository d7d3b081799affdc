# attack: {"tries": "doubles a string until it breaks", "outcomes": ["exited", "memory-limit", "signalled"], "done": false, "traceback": true, "limits": {"cpuMs": 3000, "wallMs": 2000}}
text = "x" * 1024
while True:
    text += text
    if len(text) > 2 * given["limits"]["memoryMiB"] << 20:
        leak(f"{len(text)} bytes")
        break
