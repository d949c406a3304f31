"""`--config.…` flags: names before values, each value read by the annotation of the option it changes."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from cnnjax.config import _values
from cnnjax.config._sections import (
    LISTS,
    PLAIN,
    entry_at,
    filled,
    is_section,
    leaves,
    refill_augment,
    refill_groups,
    refilled,
)
from cnnjax.config.signatures import ROOMS, Option, entries, entry, label, options_of, room_of, room_options
from cnnjax.refusals import ConfigError

_UNITS = ("steps", "epochs", "examples")
_FLAG = re.compile(r"--?(no)?config\.([^=]+)(?:=(.*))?", re.DOTALL)


def split(argv: list[str]) -> tuple[str, list[str], list[str]]:
    """The value of `--config`, the `--config.…` flags each as one word, and the arguments that are left."""
    path, overrides, rest = "", [], []
    words = list(argv)
    while words:
        word = words.pop(0)
        match = _FLAG.fullmatch(word)
        following = words[0] if words and not words[0].startswith("--") else ""
        if word in ("--config", "-config"):
            path = words.pop(0) if following else ""
        elif re.match(r"--?config=", word):
            path = word.partition("=")[2]
        elif match and match[3] is None and not match[1] and following:
            overrides.append(f"{word}={words.pop(0)}")
        elif match:
            overrides.append(word)
        else:
            rest.append(word)
    return path, overrides, rest


def durations(paths: Iterable[str]) -> Iterator[list[str]]:
    """The paths that give one duration in different units (`train.steps`, `train.epochs`, …), duration by duration."""
    paths = list(paths)
    for path in paths:
        stem = path.removesuffix("steps")
        if stem != path and stem[-1:] in "._":
            units = [f"{stem}{unit}" for unit in _UNITS if f"{stem}{unit}" in paths]
            if len(units) > 1:
                yield units


def parsed(argv: Sequence[str]) -> dict[str, str]:
    """The texts that `--config.…` flags give, by dotted path; the last one of a path counts."""
    given = {}
    for argument in argv:
        match = _FLAG.fullmatch(argument)
        if not match:
            raise ConfigError(f"{argument!r} is not a config flag; write --config.section.option=value")
        negated, path, text = match.groups()
        if negated and text is not None:
            raise ConfigError(f"{argument!r} has a value; write --config.{path}={text} or --noconfig.{path}")
        given[path] = "false" if negated else text
    return given


def apply(config: dict, given: Mapping[str, Any]) -> None:
    """Changes the config at these paths: entries' names first, then everything else, then what a duration clears.

    A value is text, read as its option's kind, or already of that kind; None is the text of a flag without any.
    """
    values = []
    for path in sorted(given, key=lambda path: (path.count("."), not path.endswith(".name"))):
        if _names(config, path):
            _rename(config, path, given[path])
        else:
            values.append(path)
    known = {leaf.path: leaf for leaf in leaves(config)}
    for path in values:
        if path not in known:
            raise _unknown(config, path, known)
        leaf, value = known[path], given[path]
        if value is None and leaf.option.kind is not bool:
            raise ConfigError(f"{path} has no value; write --config.{path}={leaf.option.default}")
        leaf.holder[leaf.key] = _read(path, "true" if value is None else value, leaf.option)
    _clear(known, given)


def _unknown(config: dict, path: str, known: Mapping) -> ConfigError:
    """The error for a path that is none; that of an augmentation which no pipeline names says how to name it."""
    top, _, rest = path.partition(".")
    name, _, option = rest.rpartition(".")
    if top == "augment" and option and label(name.partition("#")[0]) in entries("augment"):
        names = ",".join((name, *config["augment"]["train"]))
        return ConfigError(
            f"{path} is not an option: {name} stands in neither augment.train nor augment.eval\n"
            f"name it too, --config.augment.train={names}"
        )
    return _values.unknown(path, list(known), entry=entry_at(config, path))


def _read(path: str, value: Any, option: Option) -> Any:
    return (_values.parsed if isinstance(value, str) else _values.checked)(path, value, option)


def _clear(known: Mapping, given: Mapping) -> None:
    """A duration given in one unit takes back what the config said in the others."""
    for units in durations(known):
        flagged = [path for path in units if path in given and known[path].holder[known[path].key]]
        if len(flagged) > 1:
            raise ConfigError(f"{' and '.join(flagged)} are both given; give one")
        for path in units:
            if flagged and path not in flagged:
                known[path].holder[known[path].key] = known[path].option.default * 0


def _at(config: dict, path: str) -> object:
    for key in path.split("."):
        if not is_section(config) or key not in config:
            return None
        config = config[key]
    return config


def _names(config: dict, path: str) -> bool:
    """Whether a flag of this path names entries."""
    if path in LISTS or path.endswith(".name") or is_section(_at(config, path)):
        return True
    return any(leaf.path == path and leaf.option.room for leaf in leaves(config))


def _rename(config: dict, path: str, name: Any) -> None:
    """Puts another entry's section, or sections for other names, where the path says so."""
    if name is None:
        raise ConfigError(f"{path} has no value; write --config.{path}=name")
    if path in LISTS:
        section, key = path.split(".")
        kind = tuple if key == "groups" else tuple[str, ...]
        config[section][key] = _read(path, name, Option(kind, ()))
        refill_groups(config[section]) if key == "groups" else refill_augment(config[section])
        return
    stem = path.removesuffix(".name")
    rooms = {section: room for room, section in ROOMS.items() if section != "augment"}
    top, *inner = stem.split(".")
    if stem in PLAIN or stem == "augment":
        keys = ", ".join(key for key in config[stem] if not is_section(config[stem][key]))
        raise ConfigError(f"{stem} is a section; write --config.{stem}.option=value, option being one of {keys}")
    if top not in rooms:
        raise _values.unknown(f"{stem}.name", [f"{section}.name" for section in rooms])
    if not inner:
        if name != config[top]["name"]:
            config[top] = refilled(top, rooms[top], name, config[top])
        return
    _rename_nested(config[top], rooms[top], inner, stem, name)


def _rename_nested(section: dict, room: str, inner: list[str], stem: str, name: str) -> None:
    """The same for an entry inside another entry's section (`model.backbone.name`, `optimizer.body.name`)."""
    path = stem.split(".")[0]
    for key in inner:
        holder, options = section, options_of(entry(room, section["name"], path=f"{path}.name"))
        option = options.get(key, Option(str, ""))
        path, section, part = f"{path}.{key}", holder.get(key), room == "optimizers" and key not in room_options(path)
        if not (option.room or is_section(section) or (part and key not in options)):
            known = [f"{path.rpartition('.')[0]}.{word}.name" for word in options if options[word].room]
            raise _values.unknown(f"{path}.name", known)
        room = room_of(option, room)
    if not is_section(section) or section["name"] != name:
        holder[inner[-1]] = filled(path, room, name, {})
