# attack: {"tries": "breaks builtins, json, sys and gc, in case the next test shares them", "outcomes": ["exited"]}
import builtins
import gc
done()
gc.disable()
sys.setrecursionlimit(10**6)
sys.path.insert(0, "/tmp")
sys.modules["math"] = sys.modules["json"]
json.dumps = lambda *values, **options: "0"
sys.stdout = None
for name in ("print", "len", "isinstance", "type", "open", "sum", "repr", "__import__"):
    setattr(builtins, name, lambda *values, **options: 0)
os._exit = lambda code: None
