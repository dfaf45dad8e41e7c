"""Protocol buffers without a schema: the fields of a message, by their numbers.

A message is a row of fields. Each begins with a varint, 8 * number + type: type 0 is a varint, 1 is
8 bytes, 2 is a length and so many bytes (text, a message, or many numbers), 5 is 4 bytes.
"""

from tinynet.weights.tensors import WeightsError

VARINT, EIGHT, BYTES, FOUR = 0, 1, 2, 5
MAX_FIELDS = 100_000  # of one message; a network has a few hundred
CUT = "is cut short or damaged: a field reaches past the end"


def varint(data, place):
    """Read a number of up to ten bytes, seven bits in each, lowest first -> number, next place."""
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(data):
            raise WeightsError(CUT)
        byte = data[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
    raise WeightsError("is damaged: a number of more than ten bytes")


def fields(data):
    """Yield (number, type, value) of each field: an int, or a memoryview of the bytes.

    Args     data: a memoryview
    Raises   WeightsError where it is no message
    """
    place = 0
    for _ in range(MAX_FIELDS):
        if place == len(data):
            return
        key, place = varint(data, place)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            value, place = varint(data, place)
        elif kind in (EIGHT, BYTES, FOUR):
            length = {EIGHT: 8, FOUR: 4}.get(kind)
            if kind == BYTES:
                length, place = varint(data, place)
            if place + length > len(data):
                raise WeightsError(CUT)
            value, place = data[place:place + length], place + length
        else:
            raise WeightsError(f"is damaged: a field of type {kind}")
        if number == 0:
            raise WeightsError("is damaged: a field of number 0")
        yield number, kind, value
    raise WeightsError(f"has a message of more than {MAX_FIELDS:,} fields")


def message(data):
    """Collect the fields of a message: {number: [values]}."""
    found = {}
    for number, _, value in fields(data):
        found.setdefault(number, []).append(value)
    return found
