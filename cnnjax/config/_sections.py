"""Sections of a config: filled from signatures, refilled when a name changes, and walked option by option."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from ml_collections import ConfigDict, FrozenConfigDict

from cnnjax.annotations import Seed
from cnnjax.config import _values
from cnnjax.config.signatures import ROOMS, Option, entry, label, options_of, room_of, room_options
from cnnjax.refusals import ConfigError

NOTHING: Mapping = MappingProxyType({})
PLAIN = ("train", "eval", "checkpoint", "report")  # sections without an entry
LISTS = ("augment.train", "augment.eval", "optimizer.groups")  # options that name entries
_NAME = Option(str, "")
_NAMES = Option(tuple[str, ...], ())


class Leaf(NamedTuple):
    """One option in a config: its dotted path, the section that holds it, its key there, what it may hold."""

    path: str
    holder: Any
    key: str
    option: Option


def is_section(value: Any) -> bool:
    """Whether a config value is a section and not an option's value."""
    return isinstance(value, Mapping | ConfigDict)


def plain(value: Any) -> Any:
    """The value with its sections as dicts of their own, tuples staying tuples."""
    if isinstance(value, FrozenConfigDict | ConfigDict | Mapping):
        return {key: plain(value[key]) for key in sorted(value.keys())}
    return tuple(plain(item) for item in value) if isinstance(value, tuple | list) else value


def changed(
    path: str,
    options: Mapping[str, Option],
    changes: Mapping,
    *,
    room: str = "",
    name: str = "",
    extra: bool = False,
) -> dict:
    """The options of the entry `name` at their defaults, with the changes put in; sections in it are filled in turn.

    `extra` lets a section stand under a key that is no option.
    """
    for key, value in changes.items():
        if key not in options and not (extra and is_section(value)):
            raise _values.unknown(f"{path}.{key}", [f"{path}.{word}" for word in options], entry=name)
    values = {key: option.default for key, option in options.items()} | dict(changes)
    for key, value in values.items():
        option = options.get(key, Option(str, ""))
        if option.room and isinstance(value, str) and value:
            value = {"name": value}
        if is_section(value):
            values[key] = _nested(f"{path}.{key}", room_of(option, room), value)
        elif key in changes:
            values[key] = _values.checked(f"{path}.{key}", value, option)
    return values


def filled(path: str, room: str, name: str, changes: Mapping, *, beside: Mapping[str, Option] = NOTHING) -> dict:
    """The section of an entry: its name and options, with the room's own options beside them."""
    options = options_of(entry(room, name, path=f"{path}.name"))
    twice = sorted(set(options) & {"name", *beside})
    if twice:
        raise ConfigError(f"{path}: {name} has the option {twice[0]!r}, which already stands beside every entry's own")
    extra = room == "optimizers" and bool(beside)
    config = {"name": name} | changed(path, {**options, **beside}, changes, room=room, name=name, extra=extra)
    if "groups" in beside:
        refill_groups(config)
    return config


def refilled(path: str, room: str, name: str, section: Mapping) -> dict:
    """The section with another entry's defaults in place of its entry's; what stands beside them stays."""
    beside = room_options(path)
    kept = {key: section[key] for key in beside if key in section}
    sections = {key: plain(section[key]) for key in section if is_section(section[key])} if "groups" in beside else {}
    return filled(path, room, name, sections | kept, beside=beside)


def refill_augment(section: dict, changes: Mapping = NOTHING) -> None:
    """Makes the augment section have a section for every name it lists, and for no other."""
    for key in ("train", "eval"):
        section[key] = _values.checked(f"augment.{key}", section[key], _NAMES)
    labels = {label(name): name for name in _listed(section)}
    for key in changes:
        if key not in labels:
            raise ConfigError(f"augment.{key}: neither augment.train nor augment.eval names {key!r}")
    for key in [key for key in section if key not in labels and key not in ("train", "eval")]:
        del section[key]
    for key, name in labels.items():
        if key not in section:
            options, wanted = _augment_options(section, name), changes.get(key, NOTHING)
            section[key] = changed(f"augment.{key}", options, wanted, name=name)


def refill_groups(section: dict) -> None:
    """Makes the optimizer section have a section for every group: that of the entry of that name where it has none."""
    for group in section["groups"]:
        if not (isinstance(group, tuple) and len(group) == 2 and all(isinstance(word, str) for word in group)):
            pairs = "pairs (pattern, optimizer), as in (('*/bias', 'sgd'),)"
            raise ConfigError(f"optimizer.groups holds {group!r}; it must hold {pairs}")
        if group[1] not in section:
            section[group[1]] = filled(f"optimizer.{group[1]}", "optimizers", group[1], NOTHING)


def leaves(config: Mapping) -> Iterator[Leaf]:
    """Every option that a config of these entries has, section by section, whether it holds it or not."""
    for key in (*ROOMS.values(), *PLAIN):
        if not is_section(config.get(key)):
            raise ConfigError(f"{key} is missing from the config; cnnjax.config.experiment(…) makes a whole one")
    yield Leaf("seed", config, "seed", Option(Seed, 0))
    for room, key in ROOMS.items():
        if key == "augment":
            yield from _augment_leaves(config[key])
        else:
            yield from _entry_leaves(key, room, config[key], room_options(key))
    for key in PLAIN:
        for name, option in room_options(key).items():
            yield Leaf(f"{key}.{name}", config[key], name, option)


def completed(config: Mapping) -> dict:
    """The config as nested dicts; options that did not exist when it was written take their defaults."""
    config = plain(config)
    for leaf in list(leaves(config)):
        leaf.holder.setdefault(leaf.key, leaf.option.default)
    return config


def paths(config: Mapping, prefix: str = "") -> Iterator[str]:
    """The dotted path of everything a config holds that is not a section."""
    for key in config:
        value = config[key]
        if is_section(value):
            yield from paths(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def entry_at(config: Mapping, path: str) -> str:
    """The name of the entry whose section an option's path lies in; "" where that is no entry's."""
    for key in path.split(".")[:-1]:
        config = config.get(key, NOTHING) if is_section(config) else NOTHING
    return config.get("name", "") if is_section(config) else ""


def _nested(path: str, room: str, section: Mapping) -> dict:
    """The section of an entry inside another entry's section; a whole section's own room options fall away."""
    changes = {key: section[key] for key in section if key != "name"}
    own = options_of(entry(room, section.get("name", ""), path=f"{path}.name"))
    for key, option in room_options(ROOMS[room]).items():
        if key in changes and key not in own:
            if changes.pop(key) != option.default:
                outer = path.rpartition(".")[0]
                raise ConfigError(f"{path}.{key} can't be set; {outer}.{key} stands for all of {outer}")
    return filled(path, room, section["name"], changes)


def _entry_leaves(path: str, room: str, section: Mapping, beside: Mapping[str, Option]) -> Iterator[Leaf]:
    yield Leaf(f"{path}.name", section, "name", _NAME)
    own = options_of(entry(room, section.get("name", ""), path=f"{path}.name"))
    for key, option in {**own, **beside}.items():
        if is_section(section.get(key)):
            yield from _entry_leaves(f"{path}.{key}", room_of(option, room), section[key], NOTHING)
        else:
            yield Leaf(f"{path}.{key}", section, key, option)
    if room == "optimizers" and beside:
        for key in section:
            if key not in own and key not in beside and is_section(section[key]):
                yield from _entry_leaves(f"{path}.{key}", room, section[key], NOTHING)


def _augment_leaves(section: Mapping) -> Iterator[Leaf]:
    for key in ("train", "eval"):
        yield Leaf(f"augment.{key}", section, key, _NAMES)
    for name in _listed(section):
        key = label(name)
        for word, option in _augment_options(section, name).items():
            yield Leaf(f"augment.{key}.{word}", section.get(key, NOTHING), word, option)


def _listed(section: Mapping) -> list[str]:
    """The names that an augment section lists, each once, in the order of their first use."""
    lists = [_values.checked(f"augment.{key}", section.get(key, ()), _NAMES) for key in ("train", "eval")]
    return list(dict.fromkeys(lists[0] + lists[1]))


def _augment_options(section: Mapping, name: str) -> Mapping[str, Option]:
    where = "train" if name in section["train"] else "eval"
    return options_of(entry("augment", name, path=f"augment.{where}"))
