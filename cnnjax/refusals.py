"""Errors that name the path, the value, what is allowed and what comes nearest. Imports nothing of the project."""

import difflib
from collections.abc import Iterable

__all__ = ["ConfigError", "nearest", "one_of", "suggestion"]


class ConfigError(ValueError):
    """A config that can't be run: says which key, what was given, what is allowed and what comes nearest."""

    exit_code = 2


def nearest(word: str, allowed: Iterable[str], *, count: int = 3, cutoff: float = 0.55) -> list[str]:
    """The allowed words that look most like the given one, best first; empty where none does."""
    allowed = list(allowed)
    lowered = {name.lower(): name for name in allowed}
    word = str(word).lower()
    found = difflib.get_close_matches(word, lowered, n=2 * count, cutoff=cutoff)
    found.sort(key=lambda name: sorted(name) != sorted(word))  # swapped letters are the likeliest slip
    return [lowered[name] for name in found[:count]]


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
    return f"{text}; {every or f'one of {len(allowed)}'}"


def one_of(value: str, allowed: Iterable[str], *, path: str = "variant") -> str:
    """The value itself where it is allowed; otherwise a ConfigError that names what comes nearest."""
    allowed = list(allowed)
    if value not in allowed:
        raise ConfigError(f"{path} is {value!r}{suggestion(value, allowed)}")
    return value
