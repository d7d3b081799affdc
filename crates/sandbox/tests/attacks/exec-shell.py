# attack: {"tries": "runs shells and other programs of the host", "outcomes": ["exited"]}
import subprocess
for path in ("/bin/sh", "/bin/bash", "/usr/bin/env", "/bin/cat", "/usr/bin/id", "/bin/busybox", "/usr/bin/perl", "/usr/bin/gcc"):
    attempt(f"ran {path}", lambda: subprocess.run([path, "-c", "echo leaked"], capture_output=True, timeout=2).args)
attempt("system", lambda: os.system("echo leaked") == 0 and "system")
done()
