// The Python text that stands behind an EvalPlus program: it hands results over in a form that can be compared outside.

/** The function that is called in place of the task's own. */
export const answerEntry = "__gradus_answer";

/** Results larger than this many items and characters together come as a digest. */
const itemsMax = 65_536;

/**
 * The program with `answerEntry`, which calls `entry` and gives its result. EvalPlus compares within the interpreter, so
 * two things that JSON cannot carry well are changed on the way out. Counter, OrderedDict and defaultdict become the dicts
 * that they equal. A large result (answers of 1 GB and integers of 10^6 digits are among the expected ones) becomes
 * ("digest", its type's name, the SHA-256 of a text that values share exactly when Python holds them to be equal). Floats in
 * it are then compared exactly, without the task's tolerance.
 * A program that tampers with this only changes its own answer.
 */
export function withAnswerEntry(code: string, entry: string): string {
  return `${code}\n\n${answerText}\n\ndef ${answerEntry}(*arguments):\n    return __gradus_portable(${entry}(*arguments))\n`;
}

const answerText = `def __gradus_portable(value):
    import collections
    import hashlib

    dicts = (collections.Counter, collections.OrderedDict, collections.defaultdict)

    def plain(value):
        kind = type(value)
        if kind in (list, tuple):
            return kind([plain(item) for item in value])
        if kind is dict or kind in dicts:
            return {key: plain(item) for key, item in value.items()}
        return value

    def size(value, left):
        kind = type(value)
        if kind is int:
            return left - 1 - value.bit_length() // 4
        if kind in (str, bytes):
            return left - 1 - len(value)
        if kind is dict or kind in dicts:
            value = [part for pair in value.items() for part in pair]
        elif kind not in (list, tuple, set, frozenset):
            return left - 1
        for item in value:
            left = size(item, left - 1)
            if left < 0:
                break
        return left

    def digest(value):
        result = hashlib.sha256()
        feed(value, result.update)
        return result.digest()

    def feed(value, put):
        kind = type(value)
        if kind is complex and value.imag == 0:
            return feed(value.real, put)
        if kind is float and value.is_integer():
            value, kind = int(value), int
        if kind is bool or kind is int:
            put(b"i" + hex(value).encode())
        elif value is None or kind in (str, bytes, float, complex):
            put(repr(value).encode("utf-8", "surrogatepass"))
        elif kind in (list, tuple):
            put(kind.__name__.encode() + b"(")
            if len(value) > 0 and set(map(type, value)) == {str}:
                put(repr(list(value)).encode("utf-8", "surrogatepass"))
            else:
                for item in value:
                    feed(item, put)
                    put(b",")
            put(b")")
        elif kind in (set, frozenset):
            put(b"set" + b"".join(sorted(map(digest, value))))
        elif kind is dict or kind in dicts:
            put(b"dict" + b"".join(sorted(digest(key) + digest(item) for key, item in value.items())))
        else:
            raise TypeError("a result too large to be compared")

    if size(value, ${itemsMax}) < 0:
        return ("digest", type(value).__name__, digest(value).hex())
    return plain(value)`;
