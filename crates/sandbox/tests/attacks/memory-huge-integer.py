# attack: {"tries": "computes 9**9**9", "outcomes": ["cpu-limit", "memory-limit", "exited", "signalled"], "done": false, "traceback": true}
print(9**9**9)
