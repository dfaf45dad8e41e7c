"""Pickles without unpickling: the opcodes are read one by one, and nothing in them is executed.

PyTorch and NumPy keep their arrays in pickles, programs for a small stack machine. One of its
instructions calls any function by its name, which is how a hostile file does its work. Here a call
becomes a description, Call, and a name that is not in the caller's list ends the reading.
"""

import dataclasses
import pickletools

from tinynet.weights.tensors import WeightsError

MAX_OPCODES = 1_000_000  # a checkpoint of AlexNet with its optimiser takes a few hundred
MARK = object()
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
LITERALS = {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT",
            "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "UNICODE", "STRING", "BINSTRING",
            "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"}
NO_EFFECT = {"PROTO", "FRAME"}


@dataclasses.dataclass(eq=False)
class Name:
    """A function or a class that the pickle names."""

    text: str


@dataclasses.dataclass(eq=False)
class Call:
    """A call that the pickle asks for. state: what the new object would be given afterwards."""

    name: str
    arguments: tuple
    state: object = None


class Ordered(dict):
    """An OrderedDict, which may be given attributes: state."""

    state = None


@dataclasses.dataclass(eq=False)
class Persistent:
    """An object that lies outside the pickle, as the storages of PyTorch do."""

    key: object


def load(file, allowed):
    """Read one pickle from where the file stands, up to its end.

    Args     file: with read, readline and tell; allowed: the names it may contain, a set
    Returns  dicts, lists, tuples, numbers and text, with Call and Persistent among them; and all
             Persistent in the order in which they came
    Raises   WeightsError, which names what is not allowed
    """
    try:
        return _Machine(allowed).run(file)
    except WeightsError:
        raise
    except Exception as error:  # pickletools raises many kinds, and so does a stack without items
        reason = str(error) or type(error).__name__
        raise WeightsError(f"is damaged or cut short: its pickle ends in {reason.splitlines()[0]}"
                           ) from None


class _Machine:
    """The stack machine, with those instructions that files of arrays use."""

    def __init__(self, allowed):
        self.allowed, self.stack, self.memo, self.persistent = allowed, [], {}, []

    def run(self, file):
        for count, (opcode, argument, _) in enumerate(pickletools.genops(file)):
            if count > MAX_OPCODES:
                raise WeightsError(f"has a pickle of more than {MAX_OPCODES:,} opcodes")
            if opcode.name == "STOP":
                return self.stack.pop(), self.persistent
            self.step(opcode.name, argument)
        raise ValueError("no end")

    def step(self, name, argument):
        stack = self.stack
        match name:
            case _ if name in LITERALS:
                stack.append(argument)
            case _ if name in CONSTANTS:
                stack.append(CONSTANTS[name])
            case _ if name in NO_EFFECT:
                pass
            case "MARK":
                stack.append(MARK)
            case "POP":
                stack.pop()
            case "EMPTY_DICT":
                stack.append({})
            case "EMPTY_LIST":
                stack.append([])
            case "EMPTY_TUPLE":
                stack.append(())
            case "DICT":
                items = self.since_mark()
                stack.append({})
                self.set_items(items)
            case "LIST":
                stack.append(self.since_mark())
            case "TUPLE":
                stack.append(tuple(self.since_mark()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                count = int(name[-1])
                stack[-count:] = [tuple(self.top(count))]
            case "APPEND" | "APPENDS":
                items = [stack.pop()] if name == "APPEND" else self.since_mark()
                self.expect(list).extend(items)
            case "SETITEM" | "SETITEMS":
                if name == "SETITEM":
                    items = self.top(2)
                    del stack[-2:]
                else:
                    items = self.since_mark()
                self.set_items(items)
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = stack[-1]
            case "MEMOIZE":
                self.memo[len(self.memo)] = stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                stack.append(self.memo[argument])
            case "GLOBAL":
                stack.append(self.name(argument.replace(" ", ".")))
            case "STACK_GLOBAL":
                module, attribute = self.top(2)
                stack[-2:] = [self.name(f"{module}.{attribute}")]
            case "REDUCE" | "NEWOBJ":
                function, arguments = self.top(2)
                stack[-2:] = [self.call(function, arguments)]
            case "BUILD":
                state = stack.pop()
                if isinstance(stack[-1], Call | Ordered):
                    stack[-1].state = state
            case "BINPERSID":
                stack[-1] = Persistent(stack[-1])
                self.persistent.append(stack[-1])
            case _:
                raise WeightsError(f"has the opcode {name} in its pickle, which no file of weights "
                                   "needs; nothing of it was executed")

    def top(self, count):
        items = self.stack[-count:]
        if len(items) < count or MARK in items:
            raise IndexError("a stack without items")
        return items

    def since_mark(self):
        for place in range(len(self.stack) - 1, -1, -1):
            if self.stack[place] is MARK:
                items = self.stack[place + 1:]
                del self.stack[place:]
                return items
        raise IndexError("a stack without a mark")

    def expect(self, kind):
        if not isinstance(self.stack[-1], kind):
            raise TypeError(f"no {kind.__name__} to add to")
        return self.stack[-1]

    def set_items(self, items):
        target = self.expect(dict)
        if len(items) % 2:
            raise ValueError("a key without a value")
        for key, value in zip(items[::2], items[1::2]):
            if not isinstance(key, str | int | float | bytes | None):
                raise TypeError(f"a key that is a {type(key).__name__}")
            target[key] = value

    def name(self, text):
        if text not in self.allowed:
            raise WeightsError(f"names {text}, which no file of weights needs; nothing of it was "
                               "executed. Where a whole model was saved, save its state_dict()")
        return Name(text)

    def call(self, function, arguments):
        if not isinstance(function, Name) or not isinstance(arguments, tuple):
            raise TypeError("a call of something that has no name")
        if function.text == "collections.OrderedDict":
            if arguments not in ((), ([],)):
                raise TypeError("an OrderedDict of something else")
            return Ordered()
        return Call(function.text, arguments)
