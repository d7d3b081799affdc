# attack: {"tries": "reads secrets from its environment and its arguments", "outcomes": ["exited"]}
import gc
print(dict(os.environ), sys.argv, sys.orig_argv)
envp = ctypes.POINTER(ctypes.c_char_p).in_dll(libc, "environ")
position = 0
while envp and envp[position]:
    print(envp[position])
    position += 1
names = {name for name in os.environ if any(word in name.upper() for word in ("TOKEN", "KEY", "SECRET", "CANARY", "PASS"))}
if names:
    leak(f"environment {names}")
done()
