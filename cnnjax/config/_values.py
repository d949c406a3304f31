"""What an option may hold: values checked, and flags' text read, by the option's annotation."""

import ast
import math
import numbers
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal

from cnnjax.config.signatures import Option
from cnnjax.refusals import ConfigError, nearest, suggestion

_LIKE = {str: "'head'", int: "2", float: "0.1", bool: "True"}  # what stands in an example
_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
_SEVERAL = {int: "whole numbers", float: "numbers", bool: "true or false", str: "words"}
_TRUTH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


class _MismatchError(Exception):
    """The value is not of the kind; the caller knows the path to name."""


def checked(path: str, value: Any, option: Option) -> Any:
    """The value as its option's kind (an int for a float becomes one), within the bounds and choices of its path."""
    try:
        value = _fitted(value, option.kind)
    except _MismatchError:
        raise ConfigError(f"{path} is {_shown(value)}; it must be {words(option.kind)}") from None
    return _allowed(path, value)


def parsed(path: str, text: str, option: Option) -> Any:
    """The value that a flag's text means for an option: `a,b` is a tuple of words, `1e4` is a whole number too."""
    try:
        value = _fitted(_read(text, option.kind), option.kind)
    except _MismatchError:
        raise ConfigError(f"{path} is {text!r}; it must be {words(option.kind)}") from None
    return _allowed(path, value)


def words(kind: Any) -> str:
    """A kind of value in words, as error messages and listings say it."""
    if kind in _WORDS:
        return _WORDS[kind]
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        return f"one of {', '.join(map(str, arguments))}"
    if origin in (typing.Union, types.UnionType):
        return " or ".join(words(argument) for argument in arguments)
    if kind is tuple:
        return "a tuple"
    if origin is tuple:
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            inner = typing.get_args(arguments[0])
            if typing.get_origin(arguments[0]) is tuple and Ellipsis not in inner:
                kinds, example = (", ".join(each) for each in zip(*((words(k), _LIKE[k]) for k in inner), strict=True))
                return f"a tuple of {'pairs' if len(inner) == 2 else 'tuples'} ({kinds}), as in (({example}),)"
            return f"a tuple of {_SEVERAL.get(arguments[0], words(arguments[0]))}"
        return f"a tuple of {len(arguments)}: {', '.join(words(argument) for argument in arguments)}"
    return getattr(kind, "__name__", str(kind))


def _fitted(value: Any, kind: Any) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return _first(value, arguments, _fitted)
    if origin is Literal:
        return value if value in arguments else _mismatch()
    if kind is bool:
        return value if isinstance(value, bool) else _mismatch()
    if kind is int:
        return int(value) if isinstance(value, numbers.Integral) and not isinstance(value, bool) else _mismatch()
    if kind is float:
        return float(value) if isinstance(value, numbers.Real) and not isinstance(value, bool) else _mismatch()
    if kind is str:
        return value if isinstance(value, str) else _mismatch()
    if kind is tuple or origin is tuple:
        return _fitted_tuple(value, arguments)
    return value  # a kind of the user's own


def _fitted_tuple(value: Any, kinds: tuple) -> tuple:
    if not isinstance(value, tuple | list):
        _mismatch()
    if not kinds:
        return tuple(_fitted_tuple(item, ()) if isinstance(item, tuple | list) else item for item in value)
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        return tuple(_fitted(item, kinds[0]) for item in value)
    if len(kinds) != len(value):
        _mismatch()
    return tuple(_fitted(item, kind) for item, kind in zip(value, kinds, strict=True))


def _read(text: str, kind: Any) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return _first(text, arguments, lambda text, kind: _fitted(_read(text, kind), kind))
    if kind is bool:
        return _TRUTH.get(text.strip().lower(), text)
    if kind in (int, float):
        return _number(text, kind)
    if kind is tuple or origin is tuple:
        return _read_tuple(text, arguments)
    if origin is Literal:
        return next((choice for choice in arguments if str(choice) == text), text)
    return text


def _number(text: str, kind: type) -> int | float:
    try:
        value = float(text) if kind is float else int(text)
    except ValueError:
        try:
            value = float(text)
        except ValueError:
            _mismatch()
    if kind is int:
        return int(value) if math.isfinite(value) and value == int(value) else _mismatch()
    return value


def _read_tuple(text: str, kinds: tuple) -> tuple:
    try:
        value = ast.literal_eval(text)
    except (SyntaxError, ValueError):
        stripped = text.strip().removeprefix("(").removesuffix(")")
        pieces = [piece.strip().strip("\"'") for piece in stripped.split(",")]
        value = tuple(_literal(piece) for piece in pieces if piece)
        if kinds and kinds[0] is str:
            value = tuple(piece for piece in pieces if piece)
    return tuple(value) if isinstance(value, tuple | list) else (value,)


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return text


def _first(value: Any, kinds: tuple, attempt: Any) -> Any:
    for kind in kinds:
        try:
            return attempt(value, kind)
        except _MismatchError:
            continue
    return _mismatch()


def _mismatch() -> typing.NoReturn:
    raise _MismatchError


def _allowed(path: str, value: Any) -> Any:
    from cnnjax.config import options

    allowed = options.choices(path)
    if allowed and value not in allowed:
        raise ConfigError(f"{path} is {_shown(value)}{suggestion(str(value), allowed)}")
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    if not math.isfinite(value):
        raise ConfigError(f"{path} is {value}; it must be a finite number")
    if isinstance(value, int) and abs(value) >= 2**63:
        raise ConfigError(f"{path} is {value}; it must fit into 64 bits")
    low, high, closed = options.bounds(path)
    if value < low or value > high or (value == high and not closed and math.isfinite(high)):
        raise ConfigError(f"{path} is {value}; it must be {_range(low, high, closed)}")
    return value


def _range(low: float, high: float, closed: bool) -> str:
    if math.isinf(high):
        return f"≥ {low:.15g}"
    below = f"{'≤' if closed else '<'} {high:.15g}"
    return below if math.isinf(low) else f"≥ {low:.15g} and {below}"


def _shown(value: Any) -> str:
    text = repr(dict(value) if isinstance(value, Mapping) else value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def unknown(path: str, allowed: list[str], *, entry: str = "") -> ConfigError:
    """The error for a path that a config does not have: whose option it is not, the nearest ones, all of them."""
    parent, _, word = path.rpartition(".")
    siblings = {name.rpartition(".")[2]: name for name in allowed if name.rpartition(".")[0] == parent}
    last = {name.rpartition(".")[2]: name for name in allowed}
    close = [siblings[name] for name in nearest(word, siblings, count=2)]
    close = close or nearest(path, allowed, count=2, cutoff=0.8)
    close = close or [last[name] for name in nearest(word, last, count=2, cutoff=0.8)]
    hint = f"; nearest: {', '.join(close)}" if close else ""
    owner = f" of {entry}" if entry else ""
    inside = sorted(siblings if parent and siblings else {name.partition(".")[0] for name in allowed})
    where, listing = parent if parent and siblings else "the config", ", ".join(inside)
    return ConfigError(f"{path} is not an option{owner}{hint}\n{where} has: {listing}")
