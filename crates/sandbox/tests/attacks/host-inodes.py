# attack: {"tries": "leaves news for other tests on files that all of them see", "outcomes": ["exited"]}
import fcntl
def changed(path):
    os.utime(path)
    return path
for path in ("/dev/null", "/dev/urandom", sys.executable, os.__file__, os.path.dirname(os.__file__)):
    attempt(f"times of {path}", lambda: changed(path))
    attempt(f"mode of {path}", lambda: os.chmod(path, 0o666) or path)
    attempt(f"lock on {path}", lambda: fcntl.flock(os.open(path, os.O_RDONLY), fcntl.LOCK_EX | fcntl.LOCK_NB) or path)
for number, name in ((253, "inotify_init"), (294, "inotify_init1")):
    attempt(name, lambda: succeeds(number, 0))
open("/dev/null", "w").write("x")
done()
