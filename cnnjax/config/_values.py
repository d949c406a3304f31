"""What an option may hold: values checked, and flags' text read, by the option's annotation."""

import ast
import math
import types
import typing
from typing import Any, Literal

from cnnjax.annotations import peeled
from cnnjax.config._synonyms import meant
from cnnjax.config.signatures import Option
from cnnjax.refusals import ConfigError, fits, fitted, nearest

_TRUTH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def checked(path: str, value: Any, option: Option) -> Any:
    """The value as its option's kind (an int for a float becomes one), within its words and bounds."""
    return fitted(path, value, option.kind)


def parsed(path: str, text: str, option: Option) -> Any:
    """The value that a flag's text means for an option: `a,b` is a tuple of words, `1e4` is a whole number too."""
    return fitted(path, _read(text, option.kind), option.kind, text=text)


def _read(text: str, annotation: Any) -> Any:
    """What the text means as a value of this kind; the text itself where it means none."""
    kind, _ = peeled(annotation)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        read = [_read(text, each) for each in arguments]
        fitting = [value for value, each in zip(read, arguments, strict=True) if fits(value, each)]
        meant_so = [value for value in read if isinstance(value, tuple) and text.lstrip()[:1] in ("(", "[")]
        return (fitting or meant_so or [text])[0]
    if kind is bool:
        return _TRUTH.get(text.strip().lower(), text)
    if kind in (int, float):
        return _number(text, kind)
    if kind is tuple or origin is tuple:
        return _read_tuple(text, arguments)
    if origin is Literal:
        return next((word for word in arguments if str(word) == text), text)
    return text


def _number(text: str, kind: type) -> int | float | str:
    try:
        value = float(text) if kind is float else int(text)
    except ValueError:
        try:
            value = float(text)
        except ValueError:
            return text
    if kind is int:
        return int(value) if math.isfinite(value) and value == int(value) else text
    return value


def _read_tuple(text: str, kinds: tuple) -> tuple:
    try:
        value = ast.literal_eval(text)
    except (SyntaxError, ValueError):
        stripped = text.strip().removeprefix("(").removesuffix(")")
        pieces = [piece.strip().strip("\"'") for piece in stripped.split(",")]
        worded = kinds and (peeled(kinds[0])[0] is str or typing.get_origin(peeled(kinds[0])[0]) is Literal)
        value = tuple(piece if worded else _literal(piece) for piece in pieces if piece)
    return tuple(value) if isinstance(value, tuple | list) else (value,)


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return text


def unknown(path: str, allowed: list[str], *, entry: str = "") -> ConfigError:
    """The error for a path that a config does not have: whose option it is not, the nearest ones, all of them."""
    parent, _, word = path.rpartition(".")
    known = meant(path)
    siblings = {name.rpartition(".")[2]: name for name in allowed if name.rpartition(".")[0] == parent}
    last = {name.rpartition(".")[2]: name for name in allowed}
    close = [siblings[name] for name in nearest(word, siblings, count=2)]
    close = close or nearest(path, allowed, count=2, cutoff=0.8)
    close = close or [last[name] for name in nearest(word, last, count=2, cutoff=0.8)]
    hint = f"; nearest: {', '.join(close)}" if close else ""
    hint = f"; that is {known} here" if known in allowed else hint
    owner = f" of {entry}" if entry else ""
    inside = sorted(siblings if parent and siblings else {name.partition(".")[0] for name in allowed})
    where, listing = parent if parent and siblings else "the config", ", ".join(inside)
    return ConfigError(f"{path} is not an option{owner}{hint}\n{where} has: {listing}")
