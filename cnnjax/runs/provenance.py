"""What a workdir says of the run in it: config, origin, the facts of its data, whether a new call is the same run."""

import contextlib
import dataclasses
import functools
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
from cnnjax.runs._changes import Changes, changes, flat, in_words, of_config, of_data, told
from cnnjax.runs._entries import entries, records
from cnnjax.runs.json_files import read_json
from cnnjax.runs.processes import by_first, check_alike
from cnnjax.runs.workdir import WorkdirError, write_json

__all__ = [
    "OtherData",
    "check_same_run",
    "changed_since",
    "check_same_start",
    "facts_from_json",
    "facts_to_json",
    "origin_of",
    "record_facts",
    "record_of",
    "recorded",
    "recorded_facts",
    "result_changes",
]

_SECTIONS = ("data", "model", "task", "optimizer", "train")  # of every release
_OF_A_HOST = ("data.root", "data.workers")  # may differ between processes that train together
_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "ml-collections", "tensorflow-datasets", "numpy")


class OtherData(ValueError):
    """The data of a run are not those that it was begun with."""

    exit_code = 3


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
        elif entries(path.parent / "checkpoints"):
            hint = ", but checkpoints; train again with its config, which is compared with theirs and written anew"
        raise ConfigError(f"{workdir} holds no run (no config.json){hint}")
    try:
        story = read_json(path, {"config": dict})
        if missing := [room for room in _SECTIONS if not isinstance(story["config"].get(room), dict)]:
            raise ConfigError(f"{path} is no run's config: it has no section {missing[0]!r}; restore it from a copy")
        return story
    except ConfigError as error:
        raise ConfigError(
            f"{error}, or delete it and train again with its config, which is compared with what the checkpoints say"
        ) from None


def origin_of(workdir: str | Path) -> dict[str, str]:
    """The release and the commit that trained the run of a workdir; {} where there is none."""
    story = recorded(workdir) if Path(workdir, "config.json").exists() else {}
    return {name: story[name] for name in ("cnnjax", "commit") if name in story}


def check_same_start(config: Mapping) -> None:
    """Refuses, in all, processes that train together with another config, commit or versions, before any step."""
    if jax.process_count() > 1:
        options = flat(json.loads(sections.to_json(config)))
        told = {key: value for key, value in options.items() if key not in _OF_A_HOST}
        check_alike({**told, "commit": _commit(), "cnnjax": cnnjax.__version__, **_versions()})


def record_of(config: Mapping, identity: Mapping) -> dict[str, Any]:
    """What each checkpoint, and `config.json`, says of the run: config, data, release, commit, versions, devices.

    `identity` tells its data from others (`Source.identity`).
    """
    return {"config": json.loads(sections.to_json(config)), "dataset": dict(identity), **_origin()}


def check_same_run(workdir: str | Path, record: Mapping, *, allow_changes: bool = False) -> str:
    """Writes the record of a run into a new workdir, or compares it with those there; what has changed is a line.

    Compared are `config.json` and every checkpoint. Changes that cannot touch the result are allowed and recorded,
    others refused. A run that has saved nothing yet is begun anew. Of several processes the first does this for all.
    """
    return by_first(lambda: _compared(Path(workdir), record, allow_changes))


def _compared(workdir: Path, record: Mapping, allow_changes: bool) -> str:
    path, root = workdir / "config.json", workdir / "checkpoints"
    story = {**record, "command": sys.argv}
    if not entries(root) and not any(root.glob("[0-9]*.damaged*")):
        _write(path, story)
        return ""
    saved, gone = records(root), not path.exists()
    known = _known(workdir, saved)
    past = known.get("before", [])
    changed = changes(known, record)
    for step in saved:
        for name, (old, new) in changes(saved[step], record).items():
            if not any(name in each and each[name] == old for each in past):  # else it was told when it came
                changed.setdefault(name, (old, new))
    if not allow_changes:
        _refuse(workdir, changed, record["config"])
    if changed or gone or "dataset" not in known:
        past = [*past, {name: old for name, (old, _) in changed.items()}] if changed else past
        _write(path, {**story, **({"before": past} if past else {})})
    words = [f"{name} changed: {told(name, *pair)}" for name, pair in changed.items()]
    if gone:
        by = f", after what the checkpoint at step {max(saved)} says" if saved else ""
        words.insert(0, f"config.json was gone; it is written anew{by}")
    return "; ".join(words)


def _write(path: Path, content: Mapping) -> None:
    """Writes what a run can't do without."""
    try:
        write_json(path, content)
    except OSError as error:
        raise WorkdirError(f"{path} can't be written: {error.strerror or error}") from error


def _known(workdir: Path, saved: Mapping[int, Mapping]) -> dict[str, Any]:
    """What the workdir says of its run: `config.json`, or where that is gone the newest checkpoint."""
    known = recorded(workdir) if (workdir / "config.json").exists() else dict(saved[max(saved)] if saved else {})
    if "dataset" not in known and (facts := recorded_facts(workdir)):  # of an older release
        known["dataset"] = {"counts": dict(facts[0].counts), "names": list(facts[0].names)}
    return known


def _refuse(workdir: Path, changed: Changes, config: Mapping) -> None:
    """Refuses changes of the config or the data that touch the result."""
    if words := in_words(of_config(changed, config)):
        raise ConfigError(
            f"{workdir} holds a run with another config: {words}\n"
            "use another --workdir, the old values, or --allow_changes to go on from its last checkpoint"
        )
    if words := in_words({name: pair for name, pair in changed.items() if of_data(name)}):
        raise OtherData(
            f"{workdir} holds a run on other data than are there now: {words}\n"
            "bring them back as they were, use another --workdir, or --allow_changes to go on with these"
        )


def changed_since(workdir: str | Path, record: Mapping, config: Mapping) -> Changes:
    """What of a config touches the result and is new since a checkpoint with this record was saved: (old, new) by path.

    Older releases noted none, and put no changed number into a state: what they saved has the run's first ones.
    """
    now = json.loads(sections.to_json(config))
    saved = record.get("config", {})
    if not saved:
        story = recorded(workdir)
        saved = flat(story["config"])
        for earlier in reversed(story.get("before", [])):
            saved |= earlier
    return of_config(changes({"config": saved}, {"config": now}), now)


def record_facts(workdir: str | Path, facts: Facts, *, selects: bool) -> None:
    """Writes what is known of the data into `facts.json`: with it a run needs no data to be asked.

    `selects` says whether anything may be selected by the eval split.
    """
    path, new = Path(workdir) / "facts.json", {"facts": facts_to_json(facts), "selects": selects}
    if jax.process_index() == 0:
        try:
            known = read_json(path)
        except (OSError, ValueError):  # there is none yet, or none any more
            known = None
        if known != new:
            _write(path, new)


def recorded_facts(workdir: str | Path) -> tuple[Facts, bool] | None:
    """(facts, selects) of `facts.json`; None where the release that trained the run did not write it."""
    try:
        known = read_json(Path(workdir) / "facts.json", {"facts": dict, "selects": bool})
    except FileNotFoundError:
        return None
    try:
        return facts_from_json(known["facts"]), known["selects"]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ConfigError(f"{workdir}/facts.json holds no facts as they were written; restore it from a copy") from None


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
    return in_words(of_config(changes({"config": old}, {"config": new}), new))


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


@functools.cache
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
