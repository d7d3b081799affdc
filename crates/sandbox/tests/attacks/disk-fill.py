# attack: {"tries": "writes files until the disk is full", "outcomes": ["exited", "output-limit", "memory-limit"]}
def fill(folder):
    written = 0
    path = os.path.join(folder, "gradus-mark-" + given["mark"])
    try:
        with open(path, "wb", buffering=0) as file:
            for _ in range(4 * given["limits"]["fileMiB"]):
                written += file.write(bytes(1 << 20))
    except OSError:
        pass
    if written > 2 * given["limits"]["fileMiB"] << 20:
        leak(f"{written} bytes in {folder}")
# A file that is too large may be answered by a signal.
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
for folder in (".", "/tmp", "/dev/shm", "/var/tmp", "/run", "/", "/dev", "/home", "/root"):
    fill(folder)
done()
