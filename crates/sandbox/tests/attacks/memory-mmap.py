# attack: {"tries": "maps and touches memory beyond its limit", "outcomes": ["exited", "memory-limit", "signalled"], "done": false, "traceback": true}
import mmap
held = []
while True:
    area = mmap.mmap(-1, 16 << 20)
    for begin in range(0, len(area), 4096):
        area[begin] = 1
    held.append(area)
    if 16 * len(held) > 2 * given["limits"]["memoryMiB"]:
        leak(f"{16 * len(held)} MiB")
        break
