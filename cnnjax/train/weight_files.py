"""Files of weights that say which net they are of: what a run leaves in one, and the run that is made of it."""

import json
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cnnjax import config as sections
from cnnjax import weights
from cnnjax.config import ConfigError
from cnnjax.runs.provenance import facts_from_json, facts_to_json, result_changes
from cnnjax.train.job import PreparedRun, recalled
from cnnjax.train.state import State

__all__ = ["as_notes", "from_file", "model_notes", "other_net", "told"]

_NOTE = "cnnjax"  # the name of the note in a file's metadata


def as_notes(prepared: PreparedRun, state: State, origin: Mapping[str, str]) -> dict[str, str]:
    """The notes of a run for a file of its weights: config, facts of the data, numbers, step, and where it is from."""
    known = {"config": _plain(prepared.config), "facts": facts_to_json(prepared.facts), "selects": prepared.selects}
    known |= {"step": int(state.step), "hparams": {path: float(value) for path, value in state.hparams.items()}}
    return {_NOTE: json.dumps({**known, **origin})}


def model_notes(section: Mapping) -> dict[str, str]:
    """The notes of a net that is no run's: its section alone."""
    return {_NOTE: json.dumps({"config": {"model": _plain(section)}})}


def told(path: str | Path) -> dict[str, Any]:
    """What a file of weights says of its net, as `as_notes` put it; {} where it says nothing."""
    try:
        known = json.loads(weights.notes(path).get(_NOTE, "{}"))
    except (ValueError, RecursionError):
        return {}
    return known if isinstance(known, dict) and isinstance(known.get("config"), dict) else {}


def other_net(known: Mapping, section: Mapping) -> str:
    """How the net that a file, or a run's `config`, tells of differs from that of a model section; "" if it doesn't."""
    there = known.get("config", {}).get("model", {})
    return result_changes({"model": _plain(section)}, {"model": _plain(there)}) if isinstance(there, Mapping) else ""


def from_file(path: str | Path, trusted: Collection[str] = ()) -> tuple[PreparedRun, State]:
    """The run that a file of weights tells of, and its state; what is not the package's own must be `trusted`."""
    known = told(path)
    if "facts" not in known:
        raise ConfigError(
            f"{path} does not say how its net is made and what it reads; give the workdir of a run, or the file of one "
            "(export --to=safetensors)"
        )
    foreign = [name for name in dict.fromkeys(_names(known["config"])) if name not in trusted]
    if foreign:
        raise ConfigError(
            f"{path} names {', '.join(foreign)}, which is not the package's own and would be run\n"
            f"if you know it, load it with trusted={tuple(foreign)!r}"
        )
    try:
        config = sections.from_json(json.dumps(known["config"]))
        prepared = recalled(config, facts_from_json(known["facts"]), selects=bool(known["selects"]))
        numbers = {path: jnp.float32(known["hparams"].get(path, x)) for path, x in sections.numeric(config).items()}
        step = np.int32(known["step"])
    except (AttributeError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} tells of its net in a way that can't be read: {error!r}") from None
    like = prepared.answering()
    shapes = {"params": like.params, **like.model_state}
    filled = weights.load(prepared.program.parts(numbers).net, shapes, path)
    filled = prepared.layout.replicate(jax.tree.map(lambda x, old: np.asarray(x).astype(old.dtype), filled, shapes))
    zeros = {name: np.int32(0) for name in ("streak", "bad", "skipped", "rollbacks")}
    begins = {"params": filled.pop("params"), "model_state": filled, "ema": {}, "hparams": numbers, "step": step}
    return prepared, like.replace(seed=np.uint32(config.seed), **begins, **zeros)


def _names(value: Any) -> Iterator[str]:
    """What in a config may be an import path: with a colon, and nothing that no module's name has."""
    if isinstance(value, str):
        yield from [value] if ":" in value and not re.search(r"[\s/\\]", value) else []
    elif isinstance(value, list | tuple | Mapping):
        for each in value.values() if isinstance(value, Mapping) else value:
            yield from _names(each)


def _plain(config: Mapping) -> dict:
    """The config as JSON has it: lists for tuples."""
    return json.loads(sections.to_json(config))
