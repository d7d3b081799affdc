# attack: {"tries": "opens files until no descriptor is left", "outcomes": ["exited"]}
count = 0
try:
    while count < 70_000:
        os.dup(1)
        count += 1
except OSError:
    pass
if count >= 70_000:
    leak(f"{count} descriptors")
done()
