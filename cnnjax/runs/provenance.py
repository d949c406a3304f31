"""What a workdir says of the run in it: its config, where it came from, and whether a new call is the same run."""

import importlib.metadata
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import jax

import cnnjax
from cnnjax import config as sections
from cnnjax.config import ConfigError
from cnnjax.runs.workdir import write_json

__all__ = ["check_same_run", "result_changes", "recorded"]

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
_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "ml-collections", "tensorflow-datasets", "numpy")


def recorded(workdir: str | Path) -> dict:
    """What `config.json` of a workdir holds: config, commit, versions, devices, command."""
    path = Path(workdir) / "config.json"
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


def check_same_run(workdir: str | Path, config: Mapping, *, allow_changes: bool = False) -> str:
    """Writes the config into a new workdir, or compares it with the one there; what has changed comes out as a line.

    Changes that can't touch the result (cadences, loggers, devices) are allowed and recorded, others refused. A run
    that has saved nothing yet is begun anew.
    """
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


def result_changes(old: Mapping, new: Mapping) -> str:
    """The changes from one config to another that touch a run's result, in words; "" where there are none."""
    old, new = _flat(old), _flat(new)
    harmful = [key for key in new if key in old and old[key] != new[key] and not key.startswith(_HARMLESS)]
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
        "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
        "devices": {name: devices.count(name) for name in sorted(set(devices))},
        "processes": jax.process_count(),
    }


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
