# attack: {"tries": "starts threads until none more can be had", "outcomes": ["exited", "wall-limit", "memory-limit", "signalled"]}
count = 0
try:
    while count < 5000:
        threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
        count += 1
except RuntimeError:
    pass
if count > 2 * given["limits"]["processes"]:
    leak(f"{count} threads")
done()
os._exit(0)
