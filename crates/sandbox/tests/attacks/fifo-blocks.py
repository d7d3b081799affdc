# attack: {"tries": "opens a FIFO that nobody writes", "outcomes": ["wall-limit"], "done": false}
os.mkfifo("fifo")
open("fifo").read()
