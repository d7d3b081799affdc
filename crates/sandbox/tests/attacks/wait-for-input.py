# attack: {"tries": "reads stdin after its end and waits on a pipe that nobody writes", "outcomes": ["wall-limit"], "done": false}
assert sys.stdin.read() == ""
reader, writer = os.pipe()
os.read(reader, 1)
