# attack: {"tries": "opens the memory, root and descriptors of others through /proc", "outcomes": ["exited"]}
for number in {1, os.getppid(), given["daemonPid"], given["canaryPid"], *range(2, 40)} - {os.getpid()}:
    for name in ("mem", "environ", "maps"):
        attempt(f"{number}/{name}", lambda: open(f"/proc/{number}/{name}", "rb").read(64))
    attempt(f"{number}/root", lambda: os.listdir(f"/proc/{number}/root"))
    attempt(f"{number}/fd", lambda: os.listdir(f"/proc/{number}/fd"))
    attempt(f"{number}/cwd", lambda: os.listdir(f"/proc/{number}/cwd/"))
done()
