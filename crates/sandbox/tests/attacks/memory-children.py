# attack: {"tries": "holds more memory in several children than one may have", "outcomes": ["exited", "memory-limit", "signalled"], "done": false, "limits": {"cpuMs": 3000, "wallMs": 2000}}
mebibytes = given["limits"]["memoryMiB"] // 3
readers = []
for _ in range(9):
    reader, writer = os.pipe()
    if os.fork() == 0:
        held = b"x" * (mebibytes << 20)
        os.write(writer, b"x")
        time.sleep(1000)
    os.close(writer)
    readers.append(reader)
count = sum(os.read(reader, 1) == b"x" for reader in readers)
time.sleep(0.3)
if count == 9:
    leak(f"{9 * mebibytes} MiB")
done()
os._exit(0)
