# attack: {"tries": "recurses in a thread with the largest stack", "outcomes": ["exited", "signalled", "memory-limit", "cpu-limit"], "done": false, "traceback": true}
sys.setrecursionlimit(10**9)
threading.stack_size(512 << 20)
def down(depth):
    return down(depth + 1) + 1
worker = threading.Thread(target=down, args=(0,))
worker.start()
worker.join()
