# attack: {"tries": "prints answers to stdout instead of returning them", "outcomes": ["exited"], "mode": "calls", "done": false, "answers": [{"value": "nothing"}]}
import sys
def attack(given):
    print('{"value":4242}')
    sys.stderr.write('{"value":4242}\n')
    sys.stdout.flush()
    return "nothing"
