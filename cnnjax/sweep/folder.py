"""What a sweep's folder says of it: its points in `sweep.json`, how each pack trains in `packs/`."""

import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from cnnjax import config as sections
from cnnjax.config import ConfigError
from cnnjax.refusals import on_disk, plain
from cnnjax.runs.json_files import read_json
from cnnjax.runs.provenance import result_changes
from cnnjax.runs.workdir import write_json
from cnnjax.sweep.listing import listing
from cnnjax.sweep.points import Run
from cnnjax.train.parallel import STRATEGIES

__all__ = ["note_strategy", "points_of", "read_folder", "strategy_of", "write_folder"]


def write_folder(workdir: str | Path, runs: Sequence[Run]) -> None:
    """Writes the points of a sweep; those of an earlier call that are no more among them stay at the end."""
    path = on_disk(workdir, "workdir") / "sweep.json"
    points = {run.name: _entry(run) for run in runs}
    free = {run.name: run.allow_changes and not run.done for run in runs}
    before = {"points": [], "command": []}
    if path.exists():
        try:
            before = listing(workdir)
        except ConfigError as error:
            words = str(error).rpartition("; ")[0]
            print(plain(f"{words}; it is written anew, with the points of this call alone"), file=sys.stderr)
    earlier = {point["name"]: point for point in before["points"]}
    for name, point in points.items():
        words = result_changes(earlier[name]["config"], point["config"]) if name in earlier else ""
        if words and not free[name] and (Path(workdir) / name / "checkpoints").exists():
            raise ConfigError(
                f"{workdir} holds a sweep whose point {name} has another config: {words}\n"
                "use another --workdir, the old values, or --allow_changes where no such point is complete"
            )
    Path(workdir).mkdir(parents=True, exist_ok=True)
    kept = [point for name, point in earlier.items() if name not in points]
    made = any(word.startswith("--config=") for word in sys.argv) or not before["command"]  # else it goes on
    write_json(path, {"command": sys.argv if made else before["command"], "points": [*points.values(), *kept]})


def read_folder(workdir: str | Path, *, allow_changes: bool = False) -> list[Run]:
    """The points of a sweep as runs, in their order."""
    return [_run(Path(workdir), point, allow_changes) for point in listing(workdir)["points"]]


def points_of(runs: Sequence[Run], names: Sequence[str]) -> list[Run]:
    """The runs of these names, in the order of the names."""
    known = {run.name: run for run in runs}
    return [known[sections.one_of(name, known, path="point")] for name in names]


def strategy_of(workdir: str | Path, runs: Sequence[Run], wanted: str) -> str:
    """The strategy by which these points have trained together, for going on takes the same again; else `wanted`."""
    path = _pack_file(workdir, runs)
    try:
        return sections.one_of(read_json(path, {"strategy": str})["strategy"], STRATEGIES, path=f"{path}: strategy")
    except FileNotFoundError:
        return wanted


def note_strategy(workdir: str | Path, runs: Sequence[Run], strategy: str) -> None:
    """Writes down how these points train together."""
    path = _pack_file(workdir, runs)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"strategy": strategy, "points": [run.name for run in runs]})


def _pack_file(workdir: str | Path, runs: Sequence[Run]) -> Path:
    names = "\n".join(run.name for run in runs)
    return Path(workdir) / "packs" / f"{hashlib.sha256(names.encode()).hexdigest()[:12]}.json"


def _run(workdir: Path, point: dict, allow_changes: bool) -> Run:
    try:
        config = sections.from_json(json.dumps(point["config"]))
    except ConfigError as error:
        raise ConfigError(f"{workdir}/sweep.json, point {point['name']}: {error}") from None
    return Run(point["name"], point["overrides"], config, workdir / point["name"], allow_changes)


def _entry(run: Run) -> dict:
    return {"name": run.name, "overrides": dict(run.overrides), "config": json.loads(sections.to_json(run.config))}
