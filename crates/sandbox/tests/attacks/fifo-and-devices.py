# attack: {"tries": "makes FIFOs and device nodes, and opens devices", "outcomes": ["exited"]}
import stat
os.mkfifo("fifo")
attempt("fifo", lambda: os.open("fifo", os.O_RDONLY | os.O_NONBLOCK) and None)
for name, kind, major, minor in (("mem", stat.S_IFCHR, 1, 1), ("null", stat.S_IFCHR, 1, 3), ("disk", stat.S_IFBLK, 8, 0), ("vda", stat.S_IFBLK, 254, 0), ("kmsg", stat.S_IFCHR, 1, 11)):
    attempt(f"made {name}", lambda: os.mknod(name, kind | 0o666, os.makedev(major, minor)) or name)
for path in ("/dev/mem", "/dev/kmsg", "/dev/kmem", "/dev/port", "/dev/fuse", "/dev/kvm", "/dev/net/tun", "/dev/sda", "/dev/vda", "/dev/loop-control",
             "/dev/vsock", "/dev/userfaultfd", "/dev/console", "/dev/snapshot", "/dev/cpu/0/msr", "/dev/nvidia0", "/dev/dri/card0"):
    attempt(f"opened {path}", lambda: os.open(path, os.O_RDONLY | os.O_NONBLOCK))
done()
