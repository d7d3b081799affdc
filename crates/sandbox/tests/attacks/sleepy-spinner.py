# attack: {"tries": "wakes for a moment again and again, to look neither busy nor asleep", "outcomes": ["wall-limit", "cpu-limit"], "done": false}
while True:
    time.sleep(0.001)
