# attack: {"tries": "maps and touches memory beyond its limit", "outcomes": ["exited", "memory-limit", "signalled"], "done": false, "traceback": true, "limits": {"cpuMs": 3000, "wallMs": 2000}}
import mmap
held = []
while True:
    area = mmap.mmap(-1, 16 << 20)
    area[:] = bytes(len(area))
    held.append(area)
    if 16 * len(held) > 2 * given["limits"]["memoryMiB"]:
        leak(f"{16 * len(held)} MiB")
        break
