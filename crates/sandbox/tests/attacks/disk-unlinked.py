# attack: {"tries": "fills the disk by files that are open and unlinked", "outcomes": ["exited", "output-limit", "memory-limit"]}
written = 0
held = []
try:
    for number in range(4 * given["limits"]["fileMiB"]):
        descriptor = os.open("unlinked", os.O_CREAT | os.O_WRONLY)
        os.unlink("unlinked")
        held.append(descriptor)
        written += os.write(descriptor, bytes(1 << 20))
except OSError:
    pass
if written > 2 * given["limits"]["fileMiB"] << 20:
    leak(f"{written} bytes")
done()
