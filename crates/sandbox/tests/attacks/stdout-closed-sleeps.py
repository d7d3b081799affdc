# attack: {"tries": "closes stdout and stderr, so that readers see the end, and sleeps", "outcomes": ["wall-limit"], "done": false}
os.closerange(0, 1024)
time.sleep(1000)
