"""What the rooms offer, as text: every entry with its first sentence, its options, defaults, words and bounds."""

import fnmatch
import inspect
import textwrap
from collections.abc import Callable, Collection, Mapping

from cnnjax.config._sections import NOTHING, PLAIN
from cnnjax.config.signatures import ROOMS, Option, entries, gives, options_of, room_options
from cnnjax.refusals import ConfigError, limits, nearest

_WIDTH = 110
_INDENT = " " * 21
_ANY = 12  # words, of which a reader of any arrays has more
_LONG = 60  # letters; a room's longer lists of words stand once, at its end


def listing(what: str = "") -> str:
    """The entries of all rooms, of one room, or of one name, with options, defaults, words and bounds.

    A pattern (`resnet*`, `*flip*`) is of the entries of all rooms.
    """
    sections = (*ROOMS.values(), *PLAIN)
    rooms = {section: room for room, section in ROOMS.items()} | {room: room for room in ROOMS}
    if what in rooms:
        return _room(rooms[what])
    if what in PLAIN:
        return _plain(what)
    if set(what) & set("*?["):
        return _matching(what)
    if what:
        return _found(what, [*rooms, *PLAIN])
    return "\n\n".join(_plain(key) if key in PLAIN else _room(rooms[key]) for key in sections)


def _matching(pattern: str) -> str:
    """The entries of all rooms whose names are of a pattern."""
    wanted = {room: fnmatch.filter(entries(room), pattern) for room in ROOMS}
    if not any(wanted.values()):
        part = "".join(letter for letter in pattern if letter not in "*?[]!")
        close = nearest(part, [name for room in ROOMS for name in entries(room)])
        raise ConfigError(f"--list={pattern}: no entry's name is so; nearest: {', '.join(close) or 'none'}")
    return "\n\n".join(_room(room, names) for room, names in wanted.items() if names)


def _room(room: str, wanted: Collection[str] = ()) -> str:
    """All entries of a room with what stands beside them, or those of some names alone."""
    section = ROOMS[room]
    where = f"config.{section}.train and .eval" if section == "augment" else f"config.{section}.name"
    lines = [f"{room} ({where})"]
    families: dict = {}
    long: dict = {}
    for name, function in entries(room).items():
        told = _entry(name, function, families, long if name in wanted or not wanted else {})
        lines += told if name in wanted or not wanted else []
    beside = {} if wanted else room_options(section)
    if beside:
        lines += ["  beside every entry's own options:", *_options(beside)]
    for words, key in long.items():
        lines += _wrapped(words, f"  {key:18s} ")
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
        texts.append(
            "\n".join(
                [
                    f"{name} of cnnjax.{room}",
                    inspect.getdoc(function),
                    *_given(function),
                    *_options(options_of(function)),
                ]
            )
        )
    return "\n\n".join(texts)


def _entry(name: str, function: Callable, families: dict, long: dict) -> list[str]:
    """Name, first sentence, options; a preset of an entry that stands above it shows what it changes alone.

    Long lists of words are put into `long`, with the option's name, to be said once.
    """
    text = " ".join((inspect.getdoc(function) or "").partition("\n\n")[0].split())
    head = textwrap.fill(text, _WIDTH, initial_indent=f"  {name:18s} ", subsequent_indent=_INDENT)
    options = options_of(function)
    head = "\n".join([head, *_given(function)])
    family = families.setdefault(getattr(function, "__code__", function), (name, options))
    for key, option in options.items():
        if len(limits(option.kind)) > _LONG:
            long.setdefault(limits(option.kind), key)
    if family[0] == name:
        return [head, *_options(options, long)]
    changed = [_default(key, option) for key, option in options.items() if option.default != family[1][key].default]
    return [head, *_wrapped(f"as {family[0]}, but {', '.join(changed)}" if changed else f"{family[0]} as it is")]


def _given(function: Callable) -> list[str]:
    """The words that the examples of a data entry have, with the flags that they take."""
    given = gives(function)
    words = ", ".join(f"{word} ({flag})".replace(" ", "\0") if flag else word for word, flag in given.items())
    return _wrapped(f"gives {words}") if 0 < len(given) < _ANY else []


def _options(options: Mapping, said: Mapping = NOTHING) -> list[str]:
    """The options with their defaults, words and bounds; of a list that is `said` elsewhere its name."""
    texts = []
    for key, option in options.items():
        words = limits(option.kind)
        words = f"see {said[words]} below" if words in said else words
        unbroken = words.replace(" ", "\0").replace("|\0", "| ")  # a line may break after a stroke alone
        texts.append(_default(key, option) + (f" ({unbroken})" if words else ""))
    return _wrapped(", ".join(texts))


def _default(key: str, option: Option) -> str:
    return f"{key}={option.default!r}".replace(" ", "\0")


def _wrapped(text: str, first: str = _INDENT) -> list[str]:
    form = textwrap.TextWrapper(_WIDTH, initial_indent=first, subsequent_indent=_INDENT, break_long_words=False)
    return [line.replace("\0", " ") for line in form.wrap(text)]
