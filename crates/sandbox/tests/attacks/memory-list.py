# attack: {"tries": "fills memory with a list that grows", "outcomes": ["exited", "memory-limit", "signalled"], "done": false, "traceback": true, "limits": {"cpuMs": 3000, "wallMs": 2000}}
held = []
while True:
    held.append(b"x" * (1 << 20))
    if len(held) > 2 * given["limits"]["memoryMiB"]:
        leak(f"{len(held)} MiB")
        break
