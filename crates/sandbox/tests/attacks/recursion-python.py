# attack: {"tries": "recurses in Python without a limit", "outcomes": ["exited", "signalled", "memory-limit", "cpu-limit"], "done": false, "traceback": true}
sys.setrecursionlimit(10**9)
def down(depth):
    return down(depth + 1) + 1
down(0)
