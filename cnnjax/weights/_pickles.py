"""A reader of pickles that knows nothing but tensors and dicts of them.

It walks over the opcodes and never imports, looks up or calls what a file names: the dozen names that PyTorch writes
for tensors are known by their text, any other is refused.
"""

import dataclasses
import pickletools
from collections.abc import Callable
from typing import Any, BinaryIO

__all__ = ["RefusedError", "Storage", "Tensor", "loaded"]


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
_MARK = object()


def loaded(file: BinaryIO) -> Any:
    """The value of the next pickle in a file: numbers, text, lists, tuples, dicts and `Tensor`s."""
    machine = _Machine()
    try:
        for opcode, argument, _ in pickletools.genops(file):
            if opcode.name == "STOP":
                return machine.pop()
            machine.step(opcode.name, argument)
    except RefusedError:
        raise
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise RefusedError(f"the file is damaged or no weights: {error}") from None
    raise RefusedError("the file is damaged: it ends in the middle")


class _Machine:
    """The stack machine of pickles, as far as dicts of tensors need it."""

    def __init__(self):
        self.stack, self.memo = [], {}

    def pop(self):
        value = self.stack.pop()
        if value is _MARK:
            raise RefusedError("the file is damaged: a mark where a value should stand")
        return value

    def pop_marked(self) -> list:
        at = len(self.stack) - 1 - self.stack[::-1].index(_MARK)
        values = self.stack[at + 1 :]
        del self.stack[at:]
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
        self.name(f"{module}.{name}")

    def reduce(self, _) -> None:
        arguments, function = self.pop(), self.pop()
        if not isinstance(function, _Name):
            raise RefusedError("the file calls something that is no function")
        self.stack.append(_called(function.text, arguments))

    def build(self, _) -> None:
        self.pop()  # the metadata of a state dict
        if not isinstance(self.stack[-1], dict):
            raise RefusedError("the file sets the state of an object; weights have none")

    def persistent(self, _) -> None:
        self.stack.append(_storage(self.pop()))

    def set_items(self, _) -> None:
        pairs = self.pop_marked()
        self._dict().update(zip(pairs[::2], pairs[1::2], strict=True))

    def set_item(self, _) -> None:
        value, key = self.pop(), self.pop()
        self._dict()[key] = value

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
        values = tuple(self.pop() for _ in range(count))[::-1]
        self.stack.append(values)


def _called(function: str, arguments: Any) -> Any:
    if not isinstance(arguments, tuple):
        raise RefusedError(f"the file calls {function} without a tuple of arguments")
    if function == _DICT:
        return dict(*arguments[:1])
    if function == _PARAMETER and isinstance(arguments[0], Tensor):
        return arguments[0]
    if function in _TENSORS and isinstance(arguments[0], Storage):
        storage, offset, size, stride = arguments[:4]
        numbers = (offset, *size, *stride)
        if len(size) != len(stride) or not all(isinstance(n, int) and n >= 0 for n in numbers):
            raise RefusedError(f"a tensor has offset {offset}, size {size} and stride {stride}")
        return Tensor(storage, offset, tuple(size), tuple(stride))
    raise RefusedError(f"the file calls {function} with arguments that make no tensor")


def _storage(description: Any) -> Storage:
    tag, kind, key, _, count = description[:5]
    if tag != "storage" or not isinstance(kind, _Name) or kind.text not in _STORAGES or not isinstance(count, int):
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
    "MARK": lambda: _MARK,
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
    "TUPLE": lambda m, _: m.stack.append(tuple(m.pop_marked())),
    "TUPLE1": lambda m, _: m.tuple_of(1),
    "TUPLE2": lambda m, _: m.tuple_of(2),
    "TUPLE3": lambda m, _: m.tuple_of(3),
    "LIST": lambda m, _: m.stack.append(m.pop_marked()),
    "DICT": lambda m, _: m.stack.append((lambda p: dict(zip(p[::2], p[1::2], strict=True)))(m.pop_marked())),
    "POP": lambda m, _: m.stack.pop(),
    "POP_MARK": lambda m, _: m.pop_marked(),
    "MEMOIZE": lambda m, _: m.memo.__setitem__(len(m.memo), m.stack[-1]),
    **dict.fromkeys(("BINPUT", "LONG_BINPUT", "PUT"), lambda m, at: m.memo.__setitem__(int(at), m.stack[-1])),
    **dict.fromkeys(("BINGET", "LONG_BINGET", "GET"), lambda m, at: m.stack.append(m.memo[int(at)])),
}
