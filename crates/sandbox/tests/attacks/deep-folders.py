# attack: {"tries": "nests folders deeper than any path can name", "outcomes": ["exited", "cpu-limit"]}
try:
    for _ in range(3000):
        os.mkdir("d")
        os.chdir("d")
except OSError:
    pass
done()
