"""The points that `sweep.json` lists; a list that is torn, or leads out of its sweep, is refused. Needs no jax."""

import os
from pathlib import Path
from typing import Any

from cnnjax.config import ConfigError
from cnnjax.refusals import on_disk
from cnnjax.runs.json_files import read_json

__all__ = ["listing"]

_ANEW = "give the sweep's --config again to write it anew"


def listing(workdir: str | Path) -> dict[str, Any]:
    """The `command` of a sweep and its `points`, each with `name`, `overrides` and `config`."""
    path = on_disk(workdir, "workdir") / "sweep.json"
    try:
        found = read_json(path, {"points": list})
    except FileNotFoundError:
        a_run = "; it holds a run, which evaluate measures and train goes on with"
        beside = a_run if (path.parent / "config.json").exists() else ""
        raise ConfigError(
            f"{workdir} holds no sweep (no sweep.json){beside}; give the --workdir of one, or --config to begin it"
        ) from None
    except ConfigError as error:
        raise ConfigError(f"sweep.json can't be read ({error}); {_ANEW}") from None
    for number, point in enumerate(found["points"], 1):
        if wrong := _wrong(point):
            raise ConfigError(f"{path}: point {number} {wrong}; {_ANEW}")
    command = found.get("command", [])
    return {**found, "command": [str(word) for word in command] if isinstance(command, list) else []}


def _wrong(point: Any) -> str:
    """What is wrong with a point of the list; "" where nothing is."""
    if not isinstance(point, dict):
        return f"is {str(point)[:60]!r}"
    for word, kind in (("name", str), ("overrides", dict)):
        if not isinstance(point.get(word), kind):
            return f"has no {word}"
    if not isinstance(point.setdefault("config", {}), dict):  # whoever trains it refuses an empty one
        return "has no config"
    name = point["name"]
    if name in ("", ".", "..") or "\0" in name or any(sign and sign in name for sign in (os.sep, os.altsep)):
        return f"is named {name!r}, which is no folder of the sweep"
    return ""
