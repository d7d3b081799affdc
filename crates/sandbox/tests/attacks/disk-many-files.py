# attack: {"tries": "fills the disk by many files, each small enough", "outcomes": ["exited", "output-limit", "memory-limit"]}
written = 0
try:
    for number in range(4 * given["limits"]["fileMiB"]):
        with open(f"gradus-mark-{given['mark']}-{number}", "wb", buffering=0) as file:
            written += file.write(bytes(1 << 20))
except OSError:
    pass
if written > 2 * given["limits"]["fileMiB"] << 20:
    leak(f"{written} bytes")
done()
