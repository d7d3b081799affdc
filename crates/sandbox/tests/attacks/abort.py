# attack: {"tries": "aborts, as process 1 of its namespace", "outcomes": ["signalled", "exited"]}
done()
os.abort()
