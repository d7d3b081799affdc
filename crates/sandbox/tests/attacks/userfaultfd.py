# attack: {"tries": "handles its own page faults, to win races in the kernel", "outcomes": ["exited", "signalled"]}
attempt_apart("userfaultfd", lambda: succeeds(323, 0))
attempt_apart("userfaultfd of user mode", lambda: succeeds(323, 1))
done()
