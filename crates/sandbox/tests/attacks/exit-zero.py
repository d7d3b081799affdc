# attack: {"tries": "ends with success before it has done anything", "outcomes": ["exited"], "done": false, "exitCode": 0}
sys.exit(0)
