# Asks an interpreter of the host what it is made of; runs before any sandbox exists, prints one line of JSON.
import json
import os
import site
import sys
import sysconfig

executable = os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)
names = ("stdlib", "platstdlib", "purelib", "platlib")
folders = [sysconfig.get_path(name) for name in names] + site.getsitepackages()
# The path that a program sees: the standard library first, then installed packages, as the interpreter orders them.
search = [entry for entry in sys.path if os.path.isdir(entry)]
folders = [entry for entry in dict.fromkeys(folders) if os.path.isdir(entry)]
inside = [entry for entry in search if any(entry == top or entry.startswith(top + os.sep) for top in folders)]
with open("/proc/self/maps") as maps:
    mapped = sorted({line.split(None, 5)[5].strip() for line in maps if len(line.split(None, 5)) == 6})
libraries = [path for path in mapped if path.startswith("/") and ".so" in os.path.basename(path)]
print(
    json.dumps(
        {
            "executable": executable,
            "version": ".".join(map(str, sys.version_info[:3])),
            "implementation": sys.implementation.name,
            "new_enough": sys.version_info >= (3, 9),
            "folders": folders,
            "path": inside,
            "libraries": libraries,
        }
    )
)
