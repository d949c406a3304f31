"""What a workdir says of the run in it: config, origin, the facts of its data, whether a new call is the same run."""

import contextlib
import dataclasses
import importlib.metadata
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

import cnnjax
from cnnjax import config as sections
from cnnjax.config import ConfigError
from cnnjax.fields import Facts
from cnnjax.refusals import on_disk
from cnnjax.runs.processes import by_first, check_alike
from cnnjax.runs.workdir import read_json, write_json

__all__ = [
    "check_same_run",
    "check_same_start",
    "facts_from_json",
    "facts_to_json",
    "origin_of",
    "record_facts",
    "recorded",
    "recorded_facts",
    "result_changes",
]

_HARMLESS = (
    "report.",
    "checkpoint.",
    "eval.",
    "data.workers",
    "data.resident",
    "data.root",
    "train.devices",
    "train.parallel",
)
_OF_A_HOST = ("data.root", "data.workers")  # may differ between processes that train together
_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "ml-collections", "tensorflow-datasets", "numpy")


def recorded(workdir: str | Path) -> dict:
    """What `config.json` of a workdir holds: config, commit, versions, devices, command."""
    path = on_disk(workdir, "workdir") / "config.json"
    if not path.exists():
        near = sorted(str(other.parent) for other in Path(workdir).parent.glob("*/config.json"))[:3]
        hint = f"; runs beside it: {', '.join(near)}" if near else "; give the --workdir that a training was given"
        if (Path(workdir) / "sweep.json").exists():
            points = sorted(str(other.parent) for other in Path(workdir).glob("*/config.json"))
            shown = ", ".join(points[:3]) + ", …" * (len(points) > 3)
            hint = f"; it is a sweep, whose points are runs: {shown or 'none yet'}"
            hint += f"\nall of them in a table: sweep --workdir={workdir} --table"
        raise ConfigError(f"{workdir} holds no run (no config.json){hint}")
    try:
        return json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ConfigError(
            f"{path} is not JSON any more (line {error.lineno}); restore it or start in another workdir"
        ) from None


def origin_of(workdir: str | Path) -> dict[str, str]:
    """The release and the commit that trained the run of a workdir; {} where there is none."""
    story = recorded(workdir) if Path(workdir, "config.json").exists() else {}
    return {name: story[name] for name in ("cnnjax", "commit") if name in story}


def check_same_start(config: Mapping) -> None:
    """Refuses, in all, processes that train together with another config, commit or versions, before any step."""
    if jax.process_count() > 1:
        options = _flat(json.loads(sections.to_json(config)))
        told = {key: value for key, value in options.items() if key not in _OF_A_HOST}
        check_alike({**told, "commit": _commit(), "cnnjax": cnnjax.__version__, **_versions()})


def check_same_run(workdir: str | Path, config: Mapping, *, allow_changes: bool = False) -> str:
    """Writes the config into a new workdir, or compares it with the one there; what has changed comes out as a line.

    Changes that can't touch the result (cadences, loggers, devices) are allowed and recorded, others refused. A run
    that has saved nothing yet is begun anew. Of several processes the first does this for all.
    """
    return by_first(lambda: _compared(workdir, config, allow_changes))


def _compared(workdir: str | Path, config: Mapping, allow_changes: bool) -> str:
    path = Path(workdir) / "config.json"
    story = {"config": json.loads(sections.to_json(config)), **_origin()}
    if not path.exists() or not any(Path(workdir, "checkpoints").glob("[0-9]*")):
        write_json(path, story)
        return ""
    before = recorded(workdir)
    old, new = _flat(before["config"]), _flat(story["config"])
    # an option that the release of that run did not know is not a change
    changed = [key for key in new if key in old and old[key] != new[key]]
    words = result_changes(before["config"], story["config"])
    if words and not allow_changes:
        raise ConfigError(
            f"{workdir} holds a run with another config: {words}\n"
            "use another --workdir, the old values, or --allow_changes to go on from its last checkpoint"
        )
    if changed:
        story["before"] = [*before.get("before", []), {key: old[key] for key in changed}]
        write_json(path, story)
    return "; ".join(f"{key} changed: {old[key]} → {new[key]}" for key in changed)


def record_facts(workdir: str | Path, facts: Facts, *, selects: bool) -> str:
    """Writes what is known of the data into `facts.json`; what has changed since it stood there comes out as a line.

    With it a run is all that a network needs to be asked, without its data. `selects` says whether anything may be
    selected by the eval split.
    """
    if jax.process_index():
        return ""
    path, new = Path(workdir) / "facts.json", {"facts": facts_to_json(facts), "selects": selects}
    old = read_json(path) if path.exists() else new
    if old != new or not path.exists():
        write_json(path, new)
    words = ("input", "fields", "counts", "names", "extra")  # means may differ by rounding
    changed = [word for word in words if old["facts"][word] != new["facts"][word]]
    return f"the data have changed in their {', '.join(changed)}" if changed else ""


def recorded_facts(workdir: str | Path) -> tuple[Facts, bool] | None:
    """(facts, selects) of `facts.json`; None where the release that trained the run did not write it."""
    try:
        known = read_json(Path(workdir) / "facts.json")
    except FileNotFoundError:
        return None
    except json.JSONDecodeError as error:
        raise ConfigError(f"{workdir}/facts.json is not JSON any more (line {error.lineno}); restore it") from None
    return facts_from_json(known["facts"]), known["selects"]


def facts_to_json(facts: Facts) -> dict[str, Any]:
    """Facts as JSON has them; `facts_from_json` gives them back."""
    fields = {name: [list(map(int, shape)), jnp.dtype(dtype).name] for name, (shape, dtype) in facts.fields.items()}
    numbers = {name: [float(value) for value in getattr(facts, name)] for name in ("mean", "std", "black", "white")}
    known = {field.name: getattr(facts, field.name) for field in dataclasses.fields(facts)}
    known |= {"shape": list(map(int, facts.shape)), "fields": fields, "counts": {**facts.counts}} | numbers
    return json.loads(json.dumps(known))  # tuples as lists


def facts_from_json(known: Mapping[str, Any]) -> Facts:
    """The facts that `facts_to_json` gave; words of a later release fall away."""
    words = {field.name for field in dataclasses.fields(Facts)}
    found = {name: tuple(value) if isinstance(value, list) else value for name, value in known.items() if name in words}
    fields = {name: (tuple(shape), jnp.dtype(dtype)) for name, (shape, dtype) in known["fields"].items()}
    return Facts(**found | {"fields": fields})


def result_changes(old: Mapping, new: Mapping) -> str:
    """The changes from one config to another that touch a run's result, in words; "" where there are none."""
    old, new = _flat(old), _flat(new)
    by_eval = new.get("train.patience") or "schedule.patience" in new  # then it matters when and how one looks
    harmless = tuple(path for path in _HARMLESS if not (by_eval and path == "eval."))
    metric = {"checkpoint.metric"} if by_eval else set()
    changed = [key for key in new if key in old and old[key] != new[key]]
    harmful = [key for key in changed if key in metric or not key.startswith(harmless)]
    words = "; ".join(f"{key}: {old[key]} → {new[key]}" for key in harmful[:4])
    return words + (f" and {len(harmful) - 4} more" if len(harmful) > 4 else "")


def _flat(tree: Mapping, prefix: str = "") -> dict:
    leaves = {}
    for key, value in tree.items():
        leaves |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return leaves


def _origin() -> dict:
    """Commit, versions, devices and command of this very call."""
    devices = [f"{device.platform}:{device.device_kind}" for device in jax.devices()]
    return {
        "cnnjax": cnnjax.__version__,
        "commit": _commit(),
        "command": sys.argv,
        "python": sys.version.split()[0],
        "versions": _versions(),
        "devices": {name: devices.count(name) for name in sorted(set(devices))},
        "processes": jax.process_count(),
    }


def _versions() -> dict[str, str]:
    """The versions of those packages that are installed."""
    versions = {}
    for name in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


def _commit() -> str:
    """The commit that the package runs from, with a + where files differ from it; "" outside a checkout."""
    try:
        _git("ls-files", "--error-unmatch", "__init__.py")  # else it is installed into a repository of someone else's
        return _git("rev-parse", "HEAD") + ("+" if _git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.SubprocessError):
        return ""


def _git(*words: str) -> str:
    git = ["git", "-C", str(Path(cnnjax.__file__).parent)]
    return subprocess.run([*git, *words], capture_output=True, text=True, timeout=10, check=True).stdout.strip()
