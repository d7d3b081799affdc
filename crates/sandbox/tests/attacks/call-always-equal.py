# attack: {"tries": "returns an object that equals everything", "outcomes": ["exited"], "mode": "calls", "done": false, "answers": [{"value": {"o": "Always"}}]}
class Always:
    def __eq__(self, other):
        return True
    def __ne__(self, other):
        return False
    __hash__ = object.__hash__
    __class__ = int
def attack(given):
    return Always()
