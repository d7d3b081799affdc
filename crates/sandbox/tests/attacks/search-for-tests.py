# attack: {"tries": "searches everything it can see for the tests and their secret", "outcomes": ["exited", "cpu-limit"]}
needle = given["needle"].encode()
seen = 0
for folder, folders, names in os.walk("/"):
    if folder in ("/proc", "/sys") or "/lib" in folder or folder.startswith("/usr/share"):
        folders.clear()
        continue
    for name in names:
        path = os.path.join(folder, name)
        if any(word in name.lower() for word in ("expected", "secret", "canary", "verdict")):
            leak(path)
        try:
            if os.path.isfile(path) and os.path.getsize(path) < 1 << 16 and needle in open(path, "rb").read():
                leak(path)
        except OSError:
            pass
done()
