# attack: {"tries": "hides processor time in children that die young", "outcomes": ["cpu-limit"], "done": false}
def burn():
    end = time.process_time() + 0.02
    while time.process_time() < end:
        pass
    os._exit(0)
while True:
    child = os.fork()
    if child == 0:
        burn()
    os.waitpid(child, 0)
