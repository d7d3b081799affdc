# attack: {"tries": "writes a program and runs it", "outcomes": ["exited"]}
with open("program", "w") as file:
    file.write(f"#!{sys.executable} -S\nprint('LEAK:script')\n")
os.chmod("program", 0o777)
import subprocess
attempt("ran a script", lambda: subprocess.run(["./program"], timeout=2).returncode == 0)
import shutil
def copied():
    shutil.copy("/bin/true" if os.path.exists("/bin/true") else sys.executable, "copy")
    os.chmod("copy", 0o4777)
    return subprocess.run(["./copy", "-c", "print('LEAK:copy')"], timeout=2).returncode == 0
attempt("ran a copy", copied)
def memory():
    descriptor = os.memfd_create("program")
    os.write(descriptor, b"#!" + sys.executable.encode() + b"\nprint('LEAK:memfd')\n")
    return subprocess.run([f"/proc/self/fd/{descriptor}"], pass_fds=[descriptor], timeout=2).returncode == 0
attempt("ran a memfd", memory)
def execveat():
    descriptor = os.memfd_create("program")
    os.write(descriptor, open(sys.executable, "rb").read())
    words = (ctypes.c_char_p * 4)(b"python", b"-c", b"print('LEAK:execveat')", None)
    return succeeds(322, descriptor, ctypes.c_char_p(b""), words, (ctypes.c_char_p * 1)(None), 0x1000)
attempt_apart("execveat", execveat)
done()
