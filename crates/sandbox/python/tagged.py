# Mode `calls`: tagged values in and out, and the calls themselves. Everything that runs after the program's own code
# is bound here before it (closures, C functions), so that patched builtins and modules change nothing.
import _json
import json
import types

DEPTH_MAX = 200
MESSAGE_CHARACTERS_MAX = 1000
EXACT_INTEGERS = 1 << 53
ANSWER_FD = 3


class TooLarge(Exception):
    pass


def make_decoder():
    """A function from one line of JSON to the list of a call's arguments."""
    lift = getattr(sys, "set_int_max_str_digits", None)
    lowered = getattr(sys, "get_int_max_str_digits", None)

    def long_integer(digits, lift=lift, lowered=lowered, int=int):
        if lift is None:
            return int(digits)
        before = lowered()
        lift(0)
        try:
            return int(digits)
        finally:
            lift(before)

    readers = {
        "i": long_integer,
        "f": float,
        "t": tuple,
        "s": set,
        "fs": frozenset,
        "d": dict,
        "c": lambda parts, complex=complex, float=float: complex(float(parts[0]), float(parts[1])),
        "b": bytes.fromhex,
    }

    def untag(pairs):
        ((tag, content),) = pairs
        return readers[tag](content)

    scan = json.JSONDecoder(object_pairs_hook=untag).scan_once

    def decode(line, scan=scan):
        return scan(line, 0)[0]

    return decode


def make_encoder(output_bytes):
    """A function from a value to one line of JSON of at most `output_bytes` characters."""
    lift = getattr(sys, "set_int_max_str_digits", None)
    lowered = getattr(sys, "get_int_max_str_digits", None)
    name_of = type.__dict__["__name__"].__get__
    float_repr, int_text, bit_length, hexadecimal = float.__repr__, int.__repr__, int.bit_length, bytes.hex
    items_of = dict.items
    to_json = _json.make_encoder(None, None, _json.encode_basestring_ascii, None, ":", ",", False, False, True)
    # Names of the module's globals and builtins, bound as locals.
    type_, len_, tuple_, list_, str_, int_, float_, bool_ = type, len, tuple, list, str, int, float, bool
    dict_, set_, frozenset_, complex_, bytes_ = dict, set, frozenset, complex, bytes
    too_large, exact, depth_max = TooLarge, EXACT_INTEGERS, DEPTH_MAX
    none_type = type(None)
    room = [0]

    def integer(value):
        if bit_length(value) > output_bytes * 3:
            raise too_large
        if lift is None:
            return int_text(value)
        before = lowered()
        lift(0)
        try:
            return int_text(value)
        finally:
            lift(before)

    def tag(value, depth):
        kind = type_(value)
        room[0] -= 1
        if room[0] < 0:
            raise too_large
        if kind is int_:
            return value if -exact < value < exact else {"i": integer(value)}
        if kind is str_:
            room[0] -= len_(value)
            return value
        if kind is float_:
            return {"f": float_repr(value)}
        if kind is bool_ or kind is none_type:
            return value
        if depth >= depth_max:
            return {"o": name_of(kind)}
        if kind is list_:
            return [tag(entry, depth + 1) for entry in value]
        if kind is tuple_:
            return {"t": [tag(entry, depth + 1) for entry in value]}
        if kind is dict_:
            return {"d": [[tag(key, depth + 1), tag(entry, depth + 1)] for key, entry in items_of(value)]}
        if kind is set_:
            return {"s": [tag(entry, depth + 1) for entry in value]}
        if kind is frozenset_:
            return {"fs": [tag(entry, depth + 1) for entry in value]}
        if kind is complex_:
            return {"c": [float_repr(value.real), float_repr(value.imag)]}
        if kind is bytes_:
            room[0] -= 2 * len_(value)
            if room[0] < 0:
                raise too_large
            return {"b": hexadecimal(value)}
        return {"o": name_of(kind)}

    def encode(value):
        room[0] = output_bytes
        try:
            tagged = tag(value, 0)
        except too_large:
            return '{"value":{"o":' + to_json(name_of(type_(value)), 0)[0] + "}}"
        text = "".join(to_json({"value": tagged}, 0))
        if len_(text) > output_bytes:
            return '{"value":{"o":' + to_json(name_of(type_(value)), 0)[0] + "}}"
        return text

    def encode_error(error):
        try:
            message = str_(error)
        except BaseException:
            message = ""
        if type_(message) is not str_:
            message = ""
        fields = {"error": name_of(type_(error)), "message": message[:MESSAGE_CHARACTERS_MAX]}
        return "".join(to_json(fields, 0))

    return encode, encode_error


def find_entry(module, name):
    """What to call: a function that finds the callable anew each time, as each call gets its own Solution."""
    space = module.__dict__
    if name in space:
        entry = space[name]
        return lambda: entry
    solution = space.get("Solution")
    if solution is not None and hasattr(solution, name):
        return lambda getattr=getattr: getattr(solution(), name)
    raise NameError(f"neither a function {name} nor a method Solution.{name} is defined")


def run_calls(code, calls, run):
    """Executes the code as module `solution`, then calls the entry once a line; ends the process."""
    decode, (encode, encode_error) = make_decoder(), make_encoder(run["output_bytes"])
    nonce, newline, write, end = run["nonce"], "\n", os.write, os._exit
    to_bytes, len_, view, base_exception = str.encode, len, memoryview, BaseException

    def answer(text):
        rest = view(to_bytes(nonce + text + newline))
        while len_(rest):
            rest = rest[write(ANSWER_FD, rest) :]

    lines = calls.decode("utf-8").split("\n")
    module = types.ModuleType("solution")
    module.__file__ = PROGRAM_NAME
    sys.modules["solution"] = module
    remember_source(code)
    flush = make_flush()
    try:
        exec(compile(code, PROGRAM_NAME, "exec"), module.__dict__)
        entry_of = find_entry(module, run["entry"])
    except base_exception as error:
        exit_code = report(error, 1)
        flush()
        end(exit_code)
    for line in lines:
        if not line:
            continue
        arguments = decode(line)
        try:
            text = encode(entry_of()(*arguments))
        except base_exception as error:
            text = encode_error(error)
        answer(text)
    flush()
    end(0)


