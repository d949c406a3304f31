"""What the rooms offer, as text: every entry with its first sentence, its options and their defaults."""

import inspect
import textwrap
from collections.abc import Callable, Mapping

from cnnjax.config._sections import PLAIN
from cnnjax.config.signatures import ROOMS, entries, options_of, room_options
from cnnjax.refusals import ConfigError, nearest

_WIDTH = 110


def listing(what: str = "") -> str:
    """The entries of all rooms, of one room, or one entry by its name, with their options and defaults."""
    sections = (*ROOMS.values(), *PLAIN)
    rooms = {section: room for room, section in ROOMS.items()} | {room: room for room in ROOMS}
    if what in rooms:
        return _room(rooms[what])
    if what in PLAIN:
        return _plain(what)
    if what:
        return _found(what, [*rooms, *PLAIN])
    return "\n\n".join(_plain(key) if key in PLAIN else _room(rooms[key]) for key in sections)


def _room(room: str) -> str:
    section = ROOMS[room]
    where = f"config.{section}.train and .eval" if section == "augment" else f"config.{section}.name"
    lines = [f"{room} ({where})"]
    families: dict = {}
    for name, function in entries(room).items():
        lines += _entry(name, function, families)
    beside = room_options(section)
    if beside:
        lines += ["  beside every entry's own options:", *_options(beside)]
    return "\n".join(lines)


def _plain(section: str) -> str:
    return "\n".join([f"config.{section}", *_options(room_options(section))])


def _found(name: str, sections: list[str]) -> str:
    found = [(room, entries(room)[name]) for room in ROOMS if name in entries(room)]
    if not found:
        close = nearest(name, [*sections, *(name for room in ROOMS for name in entries(room))])
        raise ConfigError(f"--list={name}: no room and no entry of that name; nearest: {', '.join(close) or 'none'}")
    texts = []
    for room, function in found:
        texts.append("\n".join([f"{name} of cnnjax.{room}", inspect.getdoc(function), *_options(options_of(function))]))
    return "\n\n".join(texts)


def _entry(name: str, function: Callable, families: dict) -> list[str]:
    """Name, first sentence, options; a preset of an entry that stands above it shows what it changes alone."""
    text = " ".join((inspect.getdoc(function) or "").partition("\n\n")[0].split())
    head = textwrap.fill(text, _WIDTH, initial_indent=f"  {name:18s} ", subsequent_indent=" " * 21)
    options = options_of(function)
    family = families.setdefault(getattr(function, "__code__", function), (name, options))
    if family[0] == name:
        return [head, *_options(options)]
    changed = {key: option for key, option in options.items() if option.default != family[1][key].default}
    return [head, *_options(changed, f"as {family[0]}, but ")]


def _options(options: Mapping, start: str = "") -> list[str]:
    words = ", ".join(f"{key}={option.default!r}".replace(" ", "\0") for key, option in options.items())
    indent = " " * 21
    form = textwrap.TextWrapper(_WIDTH, initial_indent=indent, subsequent_indent=indent, break_long_words=False)
    lines = form.wrap(start + words)
    return [line.replace("\0", " ") for line in lines]
