# attack: {"tries": "returns objects whose class, name and methods run code while the answer is written", "outcomes": ["exited"], "mode": "calls", "done": false}
class Meta(type):
    @property
    def __name__(cls):
        raise RuntimeError("name")
    def __eq__(cls, other):
        return True
    __hash__ = type.__hash__
class Hostile(metaclass=Meta):
    def __iter__(self):
        while True:
            yield 1
    def __len__(self):
        return 10**18
    def __reduce__(self):
        raise RuntimeError("reduce")
    def __getattribute__(self, name):
        raise RuntimeError(name)
def attack(given):
    return Hostile()
