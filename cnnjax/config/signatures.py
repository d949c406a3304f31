"""How a name becomes a function, and how that function's signature becomes the options of a config section."""

import functools
import importlib
import inspect
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import cnnjax
from cnnjax.annotations import WORKS_ON, Bounds, Gives, NonNegative, peeled
from cnnjax.refusals import ConfigError, nearest, one_of, suggestion

__all__ = [
    "ROOMS",
    "Option",
    "asks_for",
    "entries",
    "entry",
    "function_at",
    "gives",
    "is_entry",
    "label",
    "mode",
    "options_of",
    "readers_of",
    "room_of",
    "room_options",
]

ROOMS = {  # the config section an entry's room fills, by room
    "data": "data",
    "models": "model",
    "tasks": "task",
    "augment": "augment",
    "optimizers": "optimizer",
    "schedules": "schedule",
}
_POSITIONAL = {  # what stands before the options; a tuple of tuples: one of these
    "data": ((),),
    "models": ((), ("facts",)),
    "tasks": (("facts",),),
    "optimizers": ((),),
    "schedules": (("progress",), ("progress", "drops")),
}
_SHAPES = {  # the same in words
    "data": "(*, option: int = 0, …) -> Source",
    "models": "(*, outputs: int, option: int = 0, …), facts before them if it asks, every option with a default",
    "tasks": "(facts, *, option: float = 0.0, …), every option with a default",
    "optimizers": "(*, lr: float = 0.1, …), every option with a default",
    "schedules": "(progress, *, option: float = 0.0, …), drops after progress if it asks, every option with a default",
    "augment": f"(key, facts, {' or '.join(WORKS_ON)}, strength, *, option: float = 0.0, …)",
}


class Option(NamedTuple):
    """One option of an entry: what it may hold, bounds included; its default; whether it is traced; its entry's room.

    `room` is "same" where a nested entry is from the room of the entry that has the option; `whole` says that a nested
    net keeps its head, with the outputs of the net that it is in.
    """

    kind: Any
    default: Any
    numeric: bool = False
    room: str = ""
    whole: bool = False


def room_of(option: Option, room: str) -> str:
    """The room of the entry that an option of an entry of `room` holds the section of."""
    return option.room if option.room in ROOMS else room


def label(name: str) -> str:
    """The key of the section that an entry's name owns: `my_pkg.mod:tint#2` owns `tint#2`."""
    return name.rpartition(":")[2]


def entry(room: str, name: str, *, path: str = "") -> Callable:
    """The public function of a room that a config name means; `my_pkg.nets:tiny` imports a function of the user's own.

    `path` is the config path to blame (`model.name` by default for models).
    """
    path = path or f"{ROOMS[one_of(room, ROOMS, path='room')]}.name"
    if not isinstance(name, str) or not name:
        raise ConfigError(f"{path} is {name!r}; it must name an entry of cnnjax.{room}")
    bare = name.partition("#")[0]
    if ":" in bare:
        return _imported(room, bare, path)
    functions = entries(room)
    if bare not in functions:
        every = f"`cnnjax train --list={room}` shows all {len(functions)}; a function of your own is my_file:name"
        verb = "has" if room == "augment" else "is"
        raise ConfigError(f"{path} {verb} {name!r}{suggestion(bare, functions, every=every)}")
    return functions[bare]


@functools.cache
def entries(room: str) -> Mapping[str, Callable]:
    """Every entry of a room, by name: its public functions with the signature that the room asks for."""
    module = getattr(cnnjax, room)  # the package alone knows where its rooms are
    names = getattr(module, "__all__", None) or [name for name in vars(module) if not name.startswith("_")]
    return {name: getattr(module, name) for name in sorted(names) if is_entry(room, getattr(module, name))}


def is_entry(room: str, function: Any) -> bool:
    """Whether an object has the signature of the room's entries."""
    if not callable(function) or inspect.isclass(function) or inspect.ismodule(function):
        return False
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return False
    positional = tuple(p.name for p in parameters if p.kind is not p.KEYWORD_ONLY)
    required = {p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty}
    returns, _ = peeled(inspect.signature(function).return_annotation)
    if room == "data" and returns is not inspect.Signature.empty and getattr(returns, "__name__", returns) != "Source":
        return False
    if room == "augment":
        return positional[:2] == ("key", "facts") and positional[2:] and positional[2] in WORKS_ON and not required
    return positional in _POSITIONAL[room] and required == ({"outputs"} if room == "models" else set())


def gives(function: Callable) -> Mapping[str, str]:
    """The words that the examples of a data entry have, each with the flag that it takes, "" for none."""
    _, marks = peeled(inspect.signature(function).return_annotation)
    return next((mark for mark in marks if isinstance(mark, Gives)), {})


def readers_of(words: Iterable[str]) -> str:
    """The entries of the data room that give all of these words, in words, with the flags that it takes."""
    found = []
    for name, function in entries("data").items():
        given = gives(function)
        if set(words) <= set(given):
            flags = dict.fromkeys(f"data.{given[word]}" for word in words if given[word])
            found.append(f"{name} ({', '.join(flags)})" if flags else name)
    several = "of one's own data" if not found else ", ".join(found)
    return f"{' and '.join(words)}: {several}; choose one of these as data.name, or another task.name"


def asks_for(function: Callable, word: str) -> bool:
    """Whether an entry takes this before its options: a model the `facts` of the data, a schedule its `drops`."""
    parameter = inspect.signature(function).parameters.get(word)
    return parameter is not None and parameter.kind is not parameter.KEYWORD_ONLY


_MODES = ("training", "is_training", "deterministic", "inference", "eval", "is_train", "use_running_average")


def mode(net: Any, train: bool, part: str = "") -> dict[str, bool]:
    """{"train": train} for a call of a network, or of a part of it, whose signature has the word; else {}.

    A signature that says the same in another word is refused: what is off by default there would never be on.
    """
    owner = getattr(net, part, None) if part else net
    method = getattr(type(net), part, None) if part and inspect.ismethod(owner) else type(owner).__call__
    taken = inspect.signature(method).parameters
    if "train" in taken or any(p.kind is p.VAR_KEYWORD for p in taken.values()):
        return {"train": train}
    if others := [name for name in taken if name in _MODES]:
        where = f"{type(net).__name__}.{part or '__call__'}"
        raise ConfigError(
            f"model.name: {where} has the option {others[0]!r}, but whether a net trains is said by `train`\n"
            "write __call__(self, x, train=False), and within it deterministic=not train, use_running_average=not train"
        )
    return {}


@functools.cache
def options_of(function: Callable) -> Mapping[str, Option]:
    """The options of an entry by name, in the order of its signature: every keyword with a default."""
    try:
        signature = inspect.signature(function, eval_str=True)
    except NameError:
        signature = inspect.signature(function)
    keywords = [p for p in signature.parameters.values() if p.kind is p.KEYWORD_ONLY and p.default is not p.empty]
    options = {p.name: _option(p.annotation, p.default) for p in keywords}
    strength = signature.parameters.get("strength")
    if strength is not None and strength.kind is strength.POSITIONAL_OR_KEYWORD:
        bounded = peeled(strength.annotation)[0] is float  # else it says what it may be in the step, an array too
        options["strength"] = _option(strength.annotation if bounded else NonNegative, 1.0)
    return options


def room_options(key: str) -> Mapping[str, Option]:
    """The options that stand beside any entry's own in the config section of this name (`optimizer.clip`)."""
    schema = getattr(importlib.import_module("cnnjax.config.options"), key, None)
    return options_of(schema) if schema else {}


def _option(annotation: Any, default: Any) -> Option:
    if annotation is inspect.Parameter.empty:
        annotation = type(default)
    kind, marks = peeled(annotation)
    room = next((mark for mark in marks if mark in ROOMS), "same" if "section" in marks else "")
    for limit in (mark for mark in marks if isinstance(mark, Bounds) or mark == "path"):
        kind = Annotated[kind, limit]
    return Option(
        kind, default, numeric=peeled(kind)[0] is float and "static" not in marks, room=room, whole="whole" in marks
    )


def function_at(name: str, path: str) -> Callable:
    """The function that an import path (`my_file:name`) leads to; `path` is the config path to blame."""
    module, _, function = name.partition(":")
    if not module or not function:
        raise ConfigError(f"{path} has {name!r}; it must be module:function, as in my_file:each_epoch")
    try:
        loaded = importlib.import_module(module)
    except ImportError as error:
        files = [file.stem for file in Path.cwd().glob("*.py")]
        near = f"; nearest here: {', '.join(close)}" if (close := nearest(module, files)) else ""
        hint = f"; {module.replace('.', '/')}.py must lie in this folder, or on PYTHONPATH{near}"
        hint = hint if getattr(error, "name", "") == module.partition(".")[0] else ""
        raise ConfigError(f"{path} is {name!r}; importing {module} failed: {error}{hint}") from error
    public = [word for word, value in vars(loaded).items() if callable(value) and not word.startswith("_")]
    if not callable(getattr(loaded, function, None)):
        raise ConfigError(f"{path} is {name!r}; {module} has no such function{suggestion(function, public)}")
    return getattr(loaded, function)


def _imported(room: str, name: str, path: str) -> Callable:
    function = function_at(name, path)
    if not is_entry(room, function):
        raise ConfigError(f"{path} is {name!r}, which has not the signature of cnnjax.{room}: {_SHAPES[room]}")
    return function
