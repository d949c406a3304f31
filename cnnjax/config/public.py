"""Configs: sections filled from the signatures of the entries they name, flags that change them, checks before a run.

A config is a locked `ml_collections.ConfigDict` with the sections `data model task augment optimizer schedule
train eval checkpoint report` and a `seed`. A section's keys are the entry's keyword options, beside them
the room's own (`cnnjax.config.options`). Numbers that follow from other numbers are never in it: the plan has them.
"""

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict, FrozenConfigDict

from cnnjax.config import _files, _flags, _sections, _values
from cnnjax.config._flags import parsed as given
from cnnjax.config._flags import split
from cnnjax.config._listing import listing
from cnnjax.config._sections import NOTHING, PLAIN, is_section, leaves
from cnnjax.config._synonyms import meant
from cnnjax.config.signatures import (
    ROOMS,
    asks_for,
    entries,
    entry,
    gives,
    label,
    mode,
    options_of,
    readers_of,
    room_of,
    room_options,
)
from cnnjax.refusals import ConfigError, one_of

__all__ = [
    "ROOMS",
    "ConfigError",
    "augmentation",
    "beside",
    "errors_name_option",
    "call",
    "change",
    "entries",
    "entry",
    "experiment",
    "freeze",
    "from_json",
    "given",
    "gives",
    "label",
    "listing",
    "load",
    "meant",
    "mode",
    "numeric",
    "one_of",
    "readers_of",
    "section",
    "split",
    "to_json",
    "validate",
    "with_numbers",
]

_TRACED = ("model", "task", "augment", "optimizer", "schedule")  # sections whose entries are called inside the step


def section(room: str, name: str, **changes: Any) -> ConfigDict:
    """The config section of an entry: its name, every option at its default or as changed, the room's own options.

    A nested entry is given as a section, or by its name alone where the signature says which room it is from.
    """
    path = ROOMS[one_of(room, ROOMS, path="room")]
    if path == "augment":
        raise ConfigError("the augment section names many entries; augmentation(train=(…), eval=(…)) makes it")
    return ConfigDict(_sections.filled(path, room, name, changes, beside=room_options(path)))


def augmentation(train: tuple[str, ...] = (), eval: tuple[str, ...] = (), **options: Mapping) -> ConfigDict:
    """The augment section: the names for training and for evaluation, in order, and a section for each distinct name.

    `rotate={"degrees": 10.0}` changes that entry's options; a second use is named `rotate#2`.
    """
    config = {"train": train, "eval": eval}
    _sections.refill_augment(config, options)
    return ConfigDict(config)


def experiment(
    *,
    data: ConfigDict,
    model: ConfigDict,
    task: ConfigDict,
    augment: ConfigDict,
    optimizer: ConfigDict,
    schedule: ConfigDict,
    train: Mapping = NOTHING,
    eval: Mapping = NOTHING,
    checkpoint: Mapping = NOTHING,
    report: Mapping = NOTHING,
    seed: int = 0,
) -> ConfigDict:
    """A whole config, checked and locked; `train`, `eval`, `checkpoint`, `report` hold changes of their defaults."""
    config = {"data": data, "model": model, "task": task, "augment": augment}
    config |= {"optimizer": optimizer, "schedule": schedule, "seed": seed}
    for key, changes in zip(PLAIN, (train, eval, checkpoint, report), strict=True):
        config[key] = _sections.changed(key, room_options(key), changes)
    return _locked(config)


def call(room: str, section: Mapping, *positional: Any, **replacements: Any) -> Any:
    """What the entry of a section returns for its options, of which the replacements (traced numbers, say) win.

    A nested section arrives as what its own entry returns: a model without its head (`outputs=0`), or with the outputs
    of the model around it where the option is marked "whole". Models that do not ask for the facts of the data, and
    schedules that do not ask for drops, are not given them.
    """
    function = entry(room, section["name"])
    given = _asked(room, section["name"], function, positional)
    options = {}
    for key, option in options_of(function).items():
        options[key] = section.get(key, option.default)
        if is_section(options[key]):
            nested = room_of(option, room)
            outputs = replacements.get("outputs", 0) if option.whole else 0
            head = {"outputs": outputs} if nested == "models" else {}
            shared = nested in (room, "models")
            options[key] = call(nested, options[key], *(positional if shared else ()), **head)
    with errors_name_option(ROOMS[room], options):
        return function(*given, **(options | replacements))


def _asked(room: str, name: str, function: Callable, positional: tuple) -> tuple:
    """What of the facts of the data a model asks for, and of progress and drops a schedule."""
    if room == "schedules":
        return positional if asks_for(function, "drops") else positional[:1]
    if room != "models":
        return positional
    if not asks_for(function, "facts"):
        return ()
    if not positional:
        raise ConfigError(f"{ROOMS[room]}.name is {name!r}, which asks for the facts of the data; here are none")
    return positional


@contextlib.contextmanager
def errors_name_option(path: str, options: Mapping) -> Iterator[None]:
    """Names the config path where a ValueError begins with an option: `norm is …` becomes `model.norm is …`.

    Where something does not fit into the data, the entry's name is the option to change.
    """
    try:
        yield
    except ValueError as error:
        word, _, rest = str(error).partition(" ")
        ours = isinstance(error, ConfigError) or not hasattr(error, "exit_code")  # a damaged file is no option's fault
        if ours and word in options and rest.startswith(("is ", "holds ")):
            raise ConfigError(f"{path}.{error}") from error
        if "does not fit" in str(error) and "name" in options:
            cure = "\nchoose a net for smaller pictures, or larger ones: resize in augment.train and augment.eval"
            cure = cure if path == "model" else ""
            raise ConfigError(f"{path}.name is {options['name']!r}; for these data its {error}{cure}") from error
        raise


def numeric(config: Mapping) -> dict[str, float]:
    """Every option that is an argument of the compiled step, by dotted path: `{"optimizer.lr": 0.1}`."""
    numbers = [leaf for leaf in leaves(config) if leaf.option.numeric]
    folded = ("data.fold",) if config["data"].get("folds", 0) else ()
    traced = (leaf for leaf in numbers if leaf.path.partition(".")[0] in _TRACED or leaf.path in folded)
    return {leaf.path: float(leaf.holder[leaf.key]) for leaf in traced}


def with_numbers(config: Mapping, hparams: Mapping) -> dict:
    """The config as nested dicts, with the numbers (traced or not) at the given dotted paths in place of its own."""
    copy = _sections.plain(config)
    for path, value in hparams.items():
        *parents, key = path.split(".")
        holder = copy
        for parent in parents:
            holder = holder[parent]
        holder[key] = value
    return copy


def freeze(config: Mapping) -> FrozenConfigDict:
    """The config as a hashable constant: what a compiled program may be cached by."""
    return FrozenConfigDict(_sections.plain(config))


def validate(config: Mapping) -> None:
    """Raises a ConfigError for the first key that is unknown, missing, of a wrong type or out of bounds."""
    known = {leaf.path: leaf for leaf in leaves(config)}
    for path in _sections.paths(config):
        if path not in known:
            raise _unfitting(config, path, list(known))
    for path, leaf in known.items():
        if leaf.key not in leaf.holder:
            raise ConfigError(f"{path} is missing; its default is {leaf.option.default!r}")
        _values.checked(path, leaf.holder[leaf.key], leaf.option)
    for units in _flags.durations(known):
        given = [path for path in units if known[path].holder[known[path].key]]
        if len(given) > 1:
            raise ConfigError(f"{' and '.join(given)} are both given; keep one and set the other to 0")


def load(path: str, argv: Sequence[str] = ()) -> ConfigDict:
    """The config of a name or file, with `--config.…` flags applied.

    It is that of an experiment that comes with the package (`digits`, `digits:mlp`), of a .py file with
    `get_config(variant)` (`my/own.py:variant`), or of a run's `config.json`.
    Flags that name entries come first, whatever their order, and bring those entries' defaults.
    """
    config = _files.read(path)
    _flags.apply(config, _flags.parsed(argv))
    return _locked(config)


def beside(path: str, name: str) -> Any:
    """What the function `name` returns that a config file has beside `get_config`: `sweep()`, say."""
    return _files.beside(path, name)


def change(config: Mapping, changes: Mapping[str, Any]) -> ConfigDict:
    """The config with other values at dotted paths (`{"model.name": "mlp", "train.steps": 9}`), as flags change it."""
    copy = _sections.plain(config)
    _flags.apply(copy, changes)
    return _locked(copy)


def to_json(config: Mapping) -> str:
    """The config as JSON text; `from_json` gives it back, tuples included."""
    return json.dumps(_sections.plain(config), indent=2, allow_nan=False)


def from_json(text: str) -> ConfigDict:
    """The config that `to_json` wrote; options that did not exist then take their defaults."""
    try:
        return _locked(_sections.completed(json.loads(text)))
    except ConfigError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        why = (str(error) or type(error).__name__).splitlines()[0]
        raise ConfigError(f"this is no config that was written here ({why[:100]}); restore it from a copy") from error


def _unfitting(config: Mapping, path: str, known: list[str]) -> ConfigError:
    """The error for a path that is none of a config's options, perhaps because only the entry's name was changed."""
    name = _sections.entry_at(config, path)
    error = _values.unknown(path, known, entry=name)
    room = {section: room for room, section in ROOMS.items()}.get(path.partition(".")[0])
    hint = f"\nsection({room!r}, {name!r}) makes a section with all its options"
    return ConfigError(f"{error}{hint}") if name else error


def _locked(config: Mapping) -> ConfigDict:
    """The config, once it is valid, as a ConfigDict of its own to which no key can be added."""
    validate(config)
    return ConfigDict(_sections.plain(config)).lock()
