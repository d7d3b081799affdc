# attack: {"tries": "writes wherever it can, above all beside the interpreter", "outcomes": ["exited"]}
import sysconfig
places = {sys.prefix, sys.base_prefix, os.path.dirname(os.__file__), *sys.path[1:], *sysconfig.get_paths().values(), "/", "/etc", "/usr",
          "/usr/bin", "/bin", "/lib", "/home", "/root", "/var", given["repository"], given["home"], *given["folders"]}
for place in sorted(filter(None, places)):
    if os.path.realpath(place) == os.getcwd():
        continue
    path = os.path.join(place, "gradus-mark-" + given["mark"])
    attempt(f"wrote {path}", lambda: open(path, "w").write("x") and path)
    attempt(f"changed {place}", lambda: os.chmod(place, 0o777) or place)
for path in (sys.executable, os.__file__, json.__file__, "/etc/passwd", "/etc/ld.so.preload", "/bin/sh"):
    attempt(f"opened {path} for writing", lambda: open(path, "r+b") and path)
    attempt(f"removed {path}", lambda: os.rename(path, path + ".old") or path)
    attempt(f"linked {path}", lambda: os.link(path, "gradus-mark-" + given["mark"]) or path)
done()
