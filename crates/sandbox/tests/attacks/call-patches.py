# attack: {"tries": "patches builtins, json, type and our own Python's names, then returns rubbish", "outcomes": ["exited"], "mode": "calls", "done": false}
import builtins
import json
import sys
def attack(given):
    class Always(int):
        def __eq__(self, other):
            return True
        __hash__ = int.__hash__
    json.dumps = lambda *values, **options: '{"value":1}'
    json.encoder.JSONEncoder.encode = lambda *values, **options: '{"value":1}'
    for name in ("isinstance", "type", "repr", "len", "str", "hasattr", "getattr"):
        setattr(builtins, name, lambda *values, **options: Always(1))
    for module in list(sys.modules.values()):
        for name in ("encode", "tagged", "dumps", "answer", "send", "write_answer"):
            try:
                if module.__name__ in ("__main__", "solution") or "gradus" in module.__name__:
                    setattr(module, name, lambda *values, **options: '{"value":1}')
            except BaseException:
                pass
    return Always(1)
