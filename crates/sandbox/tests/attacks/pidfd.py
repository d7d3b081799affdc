# attack: {"tries": "takes descriptors of others by pidfd_getfd", "outcomes": ["exited", "signalled"]}
def take(number):
    handle = syscall(434, number, 0)
    for descriptor in range(16):
        try:
            return syscall(438, handle, descriptor, 0)
        except OSError:
            pass
for number in {os.getppid(), given["daemonPid"], given["canaryPid"], *range(1, 20)} - {0, os.getpid()}:
    attempt_apart(f"descriptor of {number}", lambda: take(number))
done()
