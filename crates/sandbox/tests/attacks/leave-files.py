# attack: {"tries": "leaves files, links, locks and shared memory for the next test", "outcomes": ["exited"]}
mark = "gradus-mark-" + given["mark"]
for folder in (".", "/tmp", "/dev/shm", "/var/tmp", "/run", "/dev/mqueue", "/run/lock", os.path.expanduser("~"), "/"):
    try:
        with open(os.path.join(folder, mark), "w") as file:
            file.write("x")
        os.makedirs(os.path.join(folder, mark + ".d", "deep"))
    except OSError:
        pass
for number in range(4):
    for size in (4096,):
        libc.shmget(0x67726164 + number, size, 0o1666)
        libc.semget(0x67726164 + number, 1, 0o1666)
        libc.msgget(0x67726164 + number, 0o1666)
queue = libc.mq_open(b"/" + mark.encode(), os.O_CREAT | os.O_RDWR, 0o666, None) if hasattr(libc, "mq_open") else -1
os.umask(0)
done()
