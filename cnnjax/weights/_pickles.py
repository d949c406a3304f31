"""A reader of pickles that knows nothing but tensors and dicts of them.

It walks over the opcodes and never imports, looks up or calls what a file names: the dozen names that PyTorch writes
for tensors are known by their text, any other is refused. What it does is bounded by the number of opcodes: no value is
compared, hashed or shown that might stand for many (a tuple of a tuple twice, sixty times over).
"""

import dataclasses
import pickletools
from collections.abc import Callable
from typing import Any, BinaryIO

__all__ = ["LONGEST", "Pickles", "RefusedError", "Storage", "Tensor"]

LONGEST = 2**26  # bytes of the pickles of a file
_MOST = 1_000_000  # opcodes of them, in half a second; a tensor takes 30, a moment of an optimizer as many
_RANK = 64  # dimensions that NumPy knows
_LARGEST = 2**63


class RefusedError(ValueError):
    """A file that holds something else than tensors and dicts of them."""

    exit_code = 2


@dataclasses.dataclass(frozen=True)
class Storage:
    """A run of numbers in the file, by key."""

    key: str
    kind: str
    count: int


@dataclasses.dataclass(frozen=True)
class Tensor:
    """A view of a storage."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class _Name:
    text: str


_TENSORS = ("torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor")
_PARAMETER = "torch._utils._rebuild_parameter"
_DICT = "collections.OrderedDict"
_KINDS = ("Float", "Double", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool")
_STORAGES = {f"torch.{kind}Storage": kind for kind in _KINDS}
_KNOWN = {*_TENSORS, _PARAMETER, _DICT, *_STORAGES}


class Pickles:
    """The pickles that stand in a file one after the other, which share a number of opcodes."""

    def __init__(self, file: BinaryIO):
        self.file, self.left = file, _MOST

    def next(self) -> Any:
        """The value of the next one: numbers, text, lists, tuples, dicts and `Tensor`s."""
        machine = _Machine(self)
        try:
            for opcode, argument, _ in pickletools.genops(self.file):
                if opcode.name == "STOP":
                    return machine.pop()
                self.spend(1)
                machine.step(opcode.name, argument)
        except RefusedError:
            raise
        except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError) as error:
            raise RefusedError(f"the file is damaged or no weights: {error}") from None
        raise RefusedError("the file is damaged: it ends in the middle")

    def spend(self, count: int) -> None:
        self.left -= count
        if self.left < 0:
            raise RefusedError(f"the file has more than {_MOST:,} pickle opcodes; save the state dict alone")


class _Machine:
    """The stack machine of pickles, as far as dicts of tensors need it; `outer` holds the stacks below the marks."""

    def __init__(self, pickles: Pickles):
        self.stack, self.outer, self.memo, self.pickles = [], [], {}, pickles

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        return self.stack.pop()

    def mark(self, _) -> None:
        self.outer.append(self.stack)
        self.stack = []

    def pop_marked(self) -> list:
        values, self.stack = self.stack, self.outer.pop()
        return values

    def step(self, name: str, argument: Any) -> None:
        if name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name]())
        elif name in _VALUES:
            self.stack.append(argument)
        elif name in _ACTIONS:
            _ACTIONS[name](self, argument)
        elif name not in ("PROTO", "FRAME"):
            raise RefusedError(f"the file uses the pickle opcode {name}; weights need none of that")

    def name(self, text: str) -> None:
        if text not in _KNOWN:
            raise RefusedError(f"the file names {text}; only tensors and dicts of them are read, nothing runs")
        self.stack.append(_Name(text))

    def stack_name(self, _) -> None:
        name, module = self.pop(), self.pop()
        if not (isinstance(name, str) and isinstance(module, str)):
            raise RefusedError("the file names something by what is no text")
        self.name(f"{module}.{name}")

    def reduce(self, _) -> None:
        arguments, function = self.pop(), self.pop()
        if not isinstance(function, _Name):
            raise RefusedError("the file calls something that is no function")
        if function.text == _DICT and isinstance(arguments, tuple):
            self.stack.append(self.dict_of(*arguments[:1]))
        else:
            self.stack.append(_called(function.text, arguments))

    def dict_of(self, pairs: Any = ()) -> dict:
        """As Python 2 wrote an OrderedDict: of a list of pairs, which may be one that was used before."""
        self.pickles.spend(len(pairs))
        if not isinstance(pairs, list | tuple) or not all(isinstance(pair, list | tuple) for pair in pairs):
            raise RefusedError(f"the file calls {_DICT} with something else than pairs")
        return {_key(key): value for key, value in pairs}

    def build(self, _) -> None:
        self.pop()  # the metadata of a state dict
        if not isinstance(self.stack[-1], dict):
            raise RefusedError("the file sets the state of an object; weights have none")

    def persistent(self, _) -> None:
        self.stack.append(_storage(self.pop()))

    def set_items(self, _) -> None:
        pairs = self.pop_marked()
        self._dict().update(_paired(pairs))

    def set_item(self, _) -> None:
        value, key = self.pop(), self.pop()
        self._dict()[_key(key)] = value

    def _dict(self) -> dict:
        if not isinstance(self.stack[-1], dict):
            raise RefusedError("the file sets items of something that is no dict")
        return self.stack[-1]

    def append(self, _) -> None:
        value = self.pop()
        self._list().append(value)

    def append_all(self, _) -> None:
        values = self.pop_marked()
        self._list().extend(values)

    def _list(self) -> list:
        if not isinstance(self.stack[-1], list):
            raise RefusedError("the file appends to something that is no list")
        return self.stack[-1]

    def tuple_of(self, count: int) -> None:
        self.stack.append(tuple(self.pop() for _ in range(count))[::-1])

    def memorize(self, at: int) -> None:
        if not 0 <= at < 2**32:
            raise RefusedError("the file is damaged: it remembers a value by a number of more than 32 bits")
        self.memo[at] = self.stack[-1]


def _paired(values: list) -> dict:
    return {_key(key): value for key, value in zip(values[::2], values[1::2], strict=True)}


def _key(value: Any) -> Any:
    """A key of a dict: text, or a number. Python hashes a tuple anew each time, and numbers from 2⁶¹ - 1 on alike."""
    if isinstance(value, str | bytes) or (isinstance(value, int | float) and abs(value) < 2**61 - 1):
        return value
    raise RefusedError(f"a key of a dict is of type {type(value).__name__}, or too large; names and numbers are read")


def _called(function: str, arguments: Any) -> Any:
    if not isinstance(arguments, tuple):
        raise RefusedError(f"the file calls {function} without a tuple of arguments")
    if function == _PARAMETER and isinstance(arguments[0], Tensor):
        return arguments[0]
    if function in _TENSORS and isinstance(arguments[0], Storage):
        storage, offset, size, stride = arguments[:4]
        if not (isinstance(size, list | tuple) and isinstance(stride, list | tuple)):
            raise RefusedError("a tensor's size and stride are no tuples")
        numbers = (offset, *size, *stride)
        if len(size) != len(stride) or not all(isinstance(n, int) and 0 <= n < _LARGEST for n in numbers):
            raise RefusedError("a tensor's offset, size and stride are no whole numbers that belong together")
        if len(size) > _RANK:
            raise RefusedError(f"a tensor has {len(size):,} dimensions; at most {_RANK} are read")
        return Tensor(storage, offset, tuple(size), tuple(stride))
    raise RefusedError(f"the file calls {function} with arguments that make no tensor")


def _storage(description: Any) -> Storage:
    tag, kind, key, _, count = description[:5]
    known = isinstance(kind, _Name) and kind.text in _STORAGES and isinstance(key, str | int)
    if tag != "storage" or not known or not (isinstance(count, int) and 0 <= count < _LARGEST):
        raise RefusedError("the file refers to something outside that is no storage of numbers")
    if len(description) > 5 and description[5] is not None:
        raise RefusedError("the file holds views of storages in a form older than PyTorch 0.4")
    return Storage(str(key), _STORAGES[kind.text], count)


_CONSTANTS: dict[str, Callable] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
}
_VALUES = frozenset(
    (
        "BININT",
        "BININT1",
        "BININT2",
        "LONG1",
        "LONG4",
        "INT",
        "LONG",
        "BINFLOAT",
        "FLOAT",
        "BINUNICODE",
        "SHORT_BINUNICODE",
        "BINUNICODE8",
        "UNICODE",
        "BINSTRING",
        "SHORT_BINSTRING",
        "BINBYTES",
        "SHORT_BINBYTES",
    )
)
_ACTIONS: dict[str, Callable] = {
    "GLOBAL": lambda m, argument: m.name(argument.replace(" ", ".", 1)),
    "STACK_GLOBAL": _Machine.stack_name,
    "REDUCE": _Machine.reduce,
    "BUILD": _Machine.build,
    "BINPERSID": _Machine.persistent,
    "SETITEM": _Machine.set_item,
    "SETITEMS": _Machine.set_items,
    "APPEND": _Machine.append,
    "APPENDS": _Machine.append_all,
    "TUPLE": lambda m, _: m.push(tuple(m.pop_marked())),
    "TUPLE1": lambda m, _: m.tuple_of(1),
    "TUPLE2": lambda m, _: m.tuple_of(2),
    "TUPLE3": lambda m, _: m.tuple_of(3),
    "LIST": lambda m, _: m.push(m.pop_marked()),
    "DICT": lambda m, _: m.push(_paired(m.pop_marked())),
    "MARK": _Machine.mark,
    "POP": lambda m, _: m.stack.pop() if m.stack else m.pop_marked(),
    "POP_MARK": lambda m, _: m.pop_marked(),
    "MEMOIZE": lambda m, _: m.memorize(len(m.memo)),
    **dict.fromkeys(("BINPUT", "LONG_BINPUT", "PUT"), lambda m, at: m.memorize(int(at))),
    **dict.fromkeys(("BINGET", "LONG_BINGET", "GET"), lambda m, at: m.stack.append(m.memo[int(at)])),
}
