# attack: {"tries": "recurses in C: repr, pickle, json, ast, regular expressions", "outcomes": ["exited", "signalled", "memory-limit", "cpu-limit"], "done": false, "traceback": true}
import ast
import pickle
import re
sys.setrecursionlimit(10**8)
nested = []
for _ in range(10**6):
    nested = [nested]
for deed in (lambda: repr(nested), lambda: pickle.dumps(nested), lambda: json.dumps(nested), lambda: ast.parse("(" * 10**5), lambda: re.match("(a+)+$", "a" * 40 + "b")):
    child = os.fork()
    if child == 0:
        try:
            deed()
        except BaseException:
            pass
        os._exit(0)
    os.waitpid(child, 0)
