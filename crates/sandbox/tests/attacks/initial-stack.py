# attack: {"tries": "reads the environment that lay on the stack when the interpreter was started", "outcomes": ["exited", "signalled"]}
# The kernel puts the environment of the process that called exec at the top of the stack; forks inherit the pages.
auxv = ctypes.cast(libc.getauxval, ctypes.CFUNCTYPE(ctypes.c_ulong, ctypes.c_ulong))
def behind():
    AT_RANDOM, AT_EXECFN = 25, 31
    begin, end = auxv(AT_RANDOM), auxv(AT_EXECFN)
    text = ctypes.string_at(begin, end - begin)
    sys.stdout.write(repr(text[-2048:]) + "\n")
    sys.stdout.flush()
    return given["needle"].encode() in text
attempt_apart("stack", behind)
done()
