# attack: {"tries": "fills memory with a list that grows", "outcomes": ["exited", "memory-limit", "signalled"], "done": false, "traceback": true}
held = []
while True:
    held.append(bytes(1 << 20))
    if len(held) > 2 * given["limits"]["memoryMiB"]:
        leak(f"{len(held)} MiB")
        break
