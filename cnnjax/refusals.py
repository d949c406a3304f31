"""Values held against annotations, and errors that name the path, the value, what is allowed and what comes nearest."""

import difflib
import functools
import math
import numbers
import os
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from cnnjax.annotations import Bounds, peeled

__all__ = [
    "ConfigError",
    "LackingError",
    "fits",
    "fitted",
    "limits",
    "nearest",
    "on_disk",
    "one_of",
    "plain",
    "refuse_misfits",
    "suggestion",
]

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+")  # Path("gs://a") keeps one slash
_COMMA = re.compile(r"[-+]?\d+,\d+(e[-+]?\d+)?")
_LIKE = {str: "'head'", int: "2", float: "0.1", bool: "True"}  # what stands in an example
_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
_SEVERAL = {int: "whole numbers", float: "numbers", bool: "true or false", str: "words"}

# control characters but tab and line feed, what turns the direction of writing, halves of characters
_ACTS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


class ConfigError(ValueError):
    """A config that can't be run: says which key, what was given, what is allowed and what comes nearest."""

    exit_code = 2


class LackingError(ConfigError):
    """Data without the `words` that a task needs: whoever knows the readers can say which of them give those."""

    def __init__(self, text: str, words: Iterable[str]):
        super().__init__(text)
        self.words = tuple(words)


def nearest(word: str, allowed: Iterable[str], *, count: int = 3, cutoff: float = 0.55) -> list[str]:
    """The allowed words that look most like the given one, best first; empty where none does.

    Behind those that are written much alike come those whose parts are all in it (`flip` of `horizontal_flip`), or that
    have all of its parts (`optimizer.lr` of `lr`).
    """
    allowed = list(allowed)
    lowered = {name.lower(): name for name in allowed}
    word = str(word).lower()
    found = difflib.get_close_matches(word, lowered, n=2 * count, cutoff=cutoff)
    found.sort(key=lambda name: sorted(name) != sorted(word))  # swapped letters are the likeliest slip
    parts = _parts(word)
    found += [name for name in lowered if parts and (p := _parts(name)) and (p <= parts or parts <= p)]
    return [lowered[name] for name in dict.fromkeys(found)][:count]


def _parts(word: str) -> set[str]:
    """The words that a name is made of, numbers left out."""
    return {part for part in re.split(r"[\W_]+", word) if part and not part.isdigit()}


def suggestion(word: str, allowed: Iterable[str], *, every: str = "") -> str:
    """The end of an error message: the nearest allowed words, then all of them where they fit in a line."""
    allowed = sorted(set(allowed))
    close = nearest(word, allowed)
    text = f"; nearest: {', '.join(close)}" if close else ""
    listing = ", ".join(allowed)
    if not allowed:
        return f"{text}; nothing is allowed here"
    if len(listing) <= 200:
        return f"{text}; allowed: {listing}" if len(close) < len(allowed) else text
    shown = listing[:160].rpartition(", ")[0] or listing[:160]
    return f"{text}; {every or f'one of {len(allowed)}: {shown}, …'}"


def one_of(value: str, allowed: Iterable[str], *, path: str = "variant") -> str:
    """The value itself where it is allowed; otherwise a ConfigError that names what comes nearest."""
    allowed = list(allowed)
    if value not in allowed:
        raise ConfigError(f"{path} is {value!r}{suggestion(value, allowed)}")
    return value


def plain(text: str) -> str:
    """The text with what a terminal would act upon (escape sequences in a name, say) spelled out; lines stay lines."""
    return _ACTS.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def on_disk(value: str | os.PathLike, path: str) -> Path:
    """The value as a path of this machine; a ConfigError for an address (`gs://…`), which would make a folder `gs:`."""
    end = _elsewhere(str(value))
    if end:
        raise ConfigError(f"{path} is {str(value)!r}{end}")
    return Path(value)


def _elsewhere(value: str) -> str:
    """The end of the message for a path that is an address, and what to do; "" where it is none."""
    scheme = _SCHEME.match(value)
    if not scheme:
        return ""
    cures = {"http": "download it, and give the file", "file": "write the path alone, without file://"}
    cures["https"] = cures["http"]
    mount = "mount it (gcsfuse, s3fs, NFS, …), and give the folder where it is mounted"
    return f"; that is an address, no path of this machine: {cures.get(scheme[1].lower(), mount)}"


def fitted(path: str, value: Any, annotation: Any, *, text: str = "") -> Any:
    """The value as the annotation's kind (an int for a float becomes one), within its words and bounds.

    `text` is what the value was read from, where it was.
    """
    try:
        return _fitted(value, annotation)
    except _MisfitError as misfit:
        if not misfit.kin:
            point = f"; decimals have a point: {text.replace(',', '.')}" if _COMMA.fullmatch(text) else ""
            raise ConfigError(f"{path} is {_shown(text or value)}; it must be {_in_words(annotation)}{point}") from None
        verb = "holds" if misfit.inside else "is"
        raise ConfigError(f"{path} {verb} {_shown(misfit.value)}{misfit.end}") from None


def fits(value: Any, annotation: Any) -> bool:
    """Whether a value is of the annotation's kind, within its words and bounds."""
    try:
        _fitted(value, annotation)
    except _MisfitError:
        return False
    return True


def refuse_misfits(function: Callable, values: Mapping[str, Any], *, path: str = "") -> None:
    """Raises a ConfigError for the first value that the words or bounds of the function's own signature don't allow.

    What may be called without a config begins with `refuse_misfits(function, locals())`. Arrays, traced numbers and
    objects pass.
    """
    for name, annotation in _limited(function):
        if isinstance(values.get(name), str | int | float | tuple | list):
            fitted(f"{path}{name}", values[name], annotation)


def limits(annotation: Any) -> str:
    """The words or bounds of an annotation, as a listing says them: `avg | max | lp`, `≥ 0 and < 1`; "" where none."""
    kind, marks = peeled(annotation)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    bounds = " and ".join(str(mark) for mark in marks if isinstance(mark, Bounds))
    if bounds:
        return bounds
    if origin is Literal:
        return " | ".join(map(str, arguments))
    if origin in (typing.Union, types.UnionType):
        return " | ".join(text for each in arguments if (text := limits(each) or _in_words(each)))
    inner = list(dict.fromkeys(text for each in arguments if (text := limits(each))))
    return f"each {', '.join(inner).removeprefix('each ')}" if origin is tuple and inner else ""


def _in_words(annotation: Any) -> str:
    """A kind of value in words, as error messages say it."""
    kind, _ = peeled(annotation)
    if kind in _WORDS:
        return _WORDS[kind]
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        return f"one of {', '.join(map(str, arguments))}"
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_in_words(argument) for argument in arguments)
    if kind is tuple:
        return "a tuple"
    if origin is tuple:
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return f"a tuple of {_several(arguments[0])}"
        return f"a tuple of {len(arguments)}: {', '.join(_in_words(argument) for argument in arguments)}"
    return getattr(kind, "__name__", str(kind))


def _several(annotation: Any) -> str:
    kind, _ = peeled(annotation)
    inner = [peeled(argument)[0] for argument in typing.get_args(kind)]
    if typing.get_origin(kind) is tuple and Ellipsis not in inner:
        kinds = ", ".join(_in_words(each) for each in inner)
        example = ", ".join(_LIKE.get(each, "…") for each in inner)
        return f"{'pairs' if len(inner) == 2 else 'tuples'} ({kinds}), as in (({example}),)"
    return _SEVERAL.get(kind, _in_words(kind))


class _MisfitError(Exception):
    """The value is not of the kind; `kin` says that its type was right, and `end` then what is wrong with it."""

    def __init__(self, value: Any, end: str = ""):
        super().__init__(value)
        self.value, self.end, self.kin, self.inside = value, end, bool(end), False


def _fitted(value: Any, annotation: Any) -> Any:
    kind, marks = peeled(annotation)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        value = _first(value, arguments)
    elif origin is Literal:
        value = _word(value, arguments)
    elif kind is bool or kind is str:
        value = value if isinstance(value, kind) else _misfit(value)
    elif kind is int or kind is float:
        family = numbers.Integral if kind is int else numbers.Real
        value = kind(value) if isinstance(value, family) and not isinstance(value, bool) else _misfit(value)
        _refuse_boundless(value)
    elif kind is tuple or origin is tuple:
        value = _tuple(value, arguments)
    if "path" in marks and (end := _elsewhere(value)):
        _misfit(value, end)
    for mark in marks:
        if isinstance(mark, Bounds) and isinstance(value, int | float) and not mark.hold(value):
            _misfit(value, f"; it must be {mark}")
    return value


def _word(value: Any, words: tuple) -> Any:
    for word in words if isinstance(value, str | int | float) else ():
        if word == value and isinstance(word, bool) is isinstance(value, bool):
            return word
    return _misfit(value, suggestion(value, words) if isinstance(value, str) and isinstance(words[0], str) else "")


def _refuse_boundless(value: float) -> None:
    if not math.isfinite(value):
        _misfit(value, "; it must be a finite number")
    if isinstance(value, int) and abs(value) >= 2**63:
        _misfit(value, "; it must fit into 64 bits")


def _tuple(value: Any, kinds: tuple) -> tuple:
    if not isinstance(value, tuple | list):
        _misfit(value)
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        kinds = kinds[:1] * len(value)
    elif kinds and len(kinds) != len(value):
        _misfit(value)
    try:
        if not kinds:
            return tuple(_loose(item) for item in value)
        return tuple(_fitted(item, kind) for item, kind in zip(value, kinds, strict=True))
    except _MisfitError as misfit:
        misfit.inside = True
        raise


def _loose(item: Any) -> Any:
    """What stands in a tuple of which nothing is said: anything, lists as tuples."""
    if isinstance(item, numbers.Number) and not isinstance(item, bool | complex):
        _refuse_boundless(item)
    return _tuple(item, ()) if isinstance(item, tuple | list) else item


def _first(value: Any, kinds: tuple) -> Any:
    misfits = []
    for kind in kinds:
        try:
            return _fitted(value, kind)
        except _MisfitError as misfit:
            misfits.append((misfit, kind))
    told, kind = next((each for each in misfits if each[0].kin), misfits[0])
    if told.kin and typing.get_origin(peeled(kind)[0]) is Literal:  # where numbers or pairs may stand too
        told.end += f"; or {' or '.join(_in_words(other) for other in kinds if other is not kind)}"
    raise told


def _misfit(value: Any, end: str = "") -> typing.NoReturn:
    raise _MisfitError(value, end)


def _shown(value: Any) -> str:
    text = repr(dict(value) if isinstance(value, Mapping) else value)
    return text if len(text) <= 60 else f"{text[:57]}…"


@functools.cache
def _limited(function: Callable) -> tuple[tuple[str, Any], ...]:
    """The parameters of a function that have words or bounds, with their annotations."""
    return tuple((name, kind) for name, kind in function.__annotations__.items() if _has_limits(kind))


def _has_limits(annotation: Any) -> bool:
    kind, marks = peeled(annotation)
    if typing.get_origin(kind) is Literal or "path" in marks or any(isinstance(mark, Bounds) for mark in marks):
        return True
    return any(_has_limits(argument) for argument in typing.get_args(kind))
