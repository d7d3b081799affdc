# attack: {"tries": "fills the process limit with sleepers that outlive their parent", "outcomes": ["exited"]}
count = 0
while count < 5000:
    try:
        if os.fork() == 0:
            time.sleep(1000)
            os._exit(0)
    except OSError:
        break
    count += 1
if count > 2 * given["limits"]["processes"]:
    leak(f"{count} processes")
done()
os._exit(0)
