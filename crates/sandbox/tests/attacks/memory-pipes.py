# attack: {"tries": "keeps data in the buffers of many pipes and sockets", "outcomes": ["exited", "memory-limit", "signalled"], "limits": {"cpuMs": 3000, "wallMs": 2000}}
import fcntl
held = 0
pipes = []
try:
    while held < 4 * given["limits"]["memoryMiB"] << 20:
        reader, writer = os.pipe()
        pipes.append((reader, writer))
        try:
            fcntl.fcntl(writer, 1031, 1 << 20)
        except OSError:
            pass
        os.set_blocking(writer, False)
        try:
            while True:
                held += os.write(writer, bytes(65536))
        except BlockingIOError:
            pass
except OSError:
    pass
if held > 2 * given["limits"]["memoryMiB"] << 20:
    leak(f"{held} bytes in pipes")
done()
