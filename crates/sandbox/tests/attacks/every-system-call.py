# attack: {"tries": "makes every system call with senseless arguments, each in a child", "outcomes": ["exited", "signalled"], "limits": {"cpuMs": 4000, "wallMs": 2000}}
# Those that only wait, end or fork the caller are left out.
skipped = {15, 34, 56, 57, 58, 60, 61, 23, 7, 35, 230, 270, 271, 281, 441, 128, 130, 202, 219, 231, 232, 247, 435, 65, 69, 220, 240, 242, 243, 449, 455}
walls = {101, 134, 139, 153, 155, 161, 163, 164, 165, 166, 167, 168, 169, 170, 171, 172, 173, 174, 175, 176, 179, 246, 248, 249, 250, 272, 298, 300, 304, 308, 310, 311, 313, 321, 323, 425, 428, 429, 430, 431, 432, 433, 442}
child = os.fork()
if child == 0:
    for number in sorted(set(range(470)) - skipped - {1, 3, 33, 292, 436, 62, 200, 234, 129, 297, 109, 112}):
        inner = os.fork()
        if inner == 0:
            signal.alarm(1)
            libc.syscall(ctypes.c_long(number), *[ctypes.c_long(0)] * 6)
            os._exit(0)
        os.waitpid(inner, 0)
    os._exit(0)
os.waitpid(child, 0)
done()
