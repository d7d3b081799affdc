# attack: {"tries": "makes itself a sibling by CLONE_PARENT, to be a child of the zygote", "outcomes": ["exited", "signalled"]}
CLONE_PARENT = 0x8000
def sibling():
    child = syscall(56, CLONE_PARENT | signal.SIGCHLD, 0, 0, 0, 0)
    if child == 0:
        time.sleep(1000)
        os._exit(0)
    return False
attempt_apart("a sibling", sibling)
attempt("a sibling of init", lambda: syscall(56, CLONE_PARENT | signal.SIGCHLD, 0, 0, 0, 0) == 0 and time.sleep(1000))
done()
os._exit(0)
