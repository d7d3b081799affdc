# attack: {"tries": "replaces itself by a fresh interpreter without our code", "outcomes": ["exited", "signalled"]}
os.write(1, b"done\n")
try:
    os.execv(sys.executable, [sys.executable, "-I", "-S", "-c", "import os; print(sorted(os.environ))"])
except OSError:
    pass
