# attack: {"tries": "sleeps past every limit", "outcomes": ["wall-limit"], "done": false}
time.sleep(1000)
