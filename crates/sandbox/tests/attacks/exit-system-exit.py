# attack: {"tries": "raises a subclass of SystemExit whose code is an object that equals everything", "outcomes": ["exited"], "done": false}
class Always(SystemExit):
    code = 0
    def __eq__(self, other):
        return True
    __hash__ = object.__hash__
raise Always(0)
