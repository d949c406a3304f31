"""What a sweep's folder says of it: its points in `sweep.json`, how each pack trains in `packs/`."""

import contextlib
import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from cnnjax import config as sections
from cnnjax.config import ConfigError
from cnnjax.refusals import on_disk
from cnnjax.runs.json_files import read_json
from cnnjax.runs.provenance import result_changes
from cnnjax.runs.workdir import write_json
from cnnjax.sweep.points import Run

__all__ = ["note_strategy", "points_of", "read_folder", "strategy_of", "write_folder"]


def write_folder(workdir: str | Path, runs: Sequence[Run]) -> None:
    """Writes the points of a sweep; those of an earlier call that are no more among them stay at the end."""
    path = on_disk(workdir, "workdir") / "sweep.json"
    points = {run.name: _entry(run) for run in runs}
    before = {"points": [], "command": []}
    with contextlib.suppress(OSError, ValueError):  # what can't be read is written anew
        before |= read_json(path)
    earlier = {point["name"]: point for point in before["points"]}
    for name, point in points.items():
        words = result_changes(earlier[name]["config"], point["config"]) if name in earlier else ""
        if words and (Path(workdir) / name / "checkpoints").exists():
            raise ConfigError(
                f"{workdir} holds a sweep whose point {name} has another config: {words}\n"
                "use another --workdir, or the old values"
            )
    Path(workdir).mkdir(parents=True, exist_ok=True)
    kept = [point for name, point in earlier.items() if name not in points]
    made = any(word.startswith("--config=") for word in sys.argv) or not before["command"]  # else it goes on
    write_json(path, {"command": sys.argv if made else before["command"], "points": [*points.values(), *kept]})


def read_folder(workdir: str | Path) -> list[Run]:
    """The points of a sweep as runs, in their order."""
    path = on_disk(workdir, "workdir") / "sweep.json"
    if not path.exists():
        a_run = "; it holds a run, which train goes on with" if (path.parent / "config.json").exists() else ""
        raise ConfigError(
            f"{workdir} holds no sweep (no sweep.json){a_run}; give the --workdir of one, or --config to begin it"
        )
    try:
        points = read_json(path)["points"]
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} can't be read ({error}); give --config to write it anew") from None
    return [
        Run(p["name"], p["overrides"], sections.from_json(json.dumps(p["config"])), Path(workdir) / p["name"])
        for p in points
    ]


def points_of(runs: Sequence[Run], names: Sequence[str]) -> list[Run]:
    """The runs of these names, in the order of the names."""
    known = {run.name: run for run in runs}
    return [known[sections.one_of(name, known, path="point")] for name in names]


def strategy_of(workdir: str | Path, runs: Sequence[Run], wanted: str) -> str:
    """The strategy by which these points have trained together, for going on takes the same again; else `wanted`."""
    path = _pack_file(workdir, runs)
    return read_json(path)["strategy"] if path.exists() else wanted


def note_strategy(workdir: str | Path, runs: Sequence[Run], strategy: str) -> None:
    """Writes down how these points train together."""
    path = _pack_file(workdir, runs)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"strategy": strategy, "points": [run.name for run in runs]})


def _pack_file(workdir: str | Path, runs: Sequence[Run]) -> Path:
    names = "\n".join(run.name for run in runs)
    return Path(workdir) / "packs" / f"{hashlib.sha256(names.encode()).hexdigest()[:12]}.json"


def _entry(run: Run) -> dict:
    return {"name": run.name, "overrides": dict(run.overrides), "config": json.loads(sections.to_json(run.config))}
