"""Which points of a sweep can train as one program: those that differ in traced numbers and seeds alone."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from cnnjax import config as sections
from cnnjax.config import ConfigError
from cnnjax.runs.json_files import read_status
from cnnjax.runs.tables import tabulate
from cnnjax.sweep.space import names_of

__all__ = ["Pack", "Run", "packs_of", "preview", "resolved"]


@dataclasses.dataclass(frozen=True)
class Run:
    """A point of a sweep: its name, its overrides, its whole config, and the folder it lives in."""

    name: str
    overrides: Mapping
    config: Mapping
    workdir: Path
    allow_changes: bool = False  # whether it goes on although its config or data have changed

    @property
    def status(self) -> dict:
        """What its `status.json` says; {} before its first word."""
        return read_status(self.workdir)

    @property
    def done(self) -> bool:
        """Whether nothing is left to do: trained to the end, or pruned on the way."""
        return self.status.get("status") in ("complete", "pruned")


@dataclasses.dataclass(frozen=True)
class Pack:
    """Points of one program; `shared` says that one order of the data serves them all, `alone` why it is not packed."""

    runs: tuple[Run, ...]
    shared: bool = True
    alone: str = ""

    @property
    def names(self) -> list[str]:
        """The names of its points."""
        return [run.name for run in self.runs]


def resolved(
    config: Mapping, points: Sequence[Mapping], workdir: str | Path, *, allow_changes: bool = False
) -> list[Run]:
    """The points as runs, each in a folder of its own below `workdir`; a wrong override is named with its point."""
    listed = isinstance(points, Sequence) and all(isinstance(point, Mapping) for point in points)
    if not listed or not points:
        raise ConfigError(f"sweep() is {points!r}; it must be a list of points, [{{'optimizer.lr': 0.1}}, …]")
    runs = []
    for name, point in zip(names_of(points), points, strict=True):
        try:
            changed = sections.change(config, _written(point))
        except ConfigError as error:
            raise ConfigError(f"point {name}: {error}") from error
        runs.append(Run(name, dict(point), changed, Path(workdir) / name, allow_changes))
    return runs


def packs_of(runs: Sequence[Run], *, most: int = 0) -> list[Pack]:
    """The runs in packs of one program each, of `most` members at most (0: no limit), in their order."""
    groups: dict[str, list[Run]] = {}
    reasons = {}
    for run in runs:
        reason = _unpackable(run.config)
        key = run.name if reason else _program_of(run.config)
        reasons[key] = reason
        groups.setdefault(key, []).append(run)
    packs = []
    for key, members in groups.items():
        size = most or len(members)
        for first in range(0, len(members), size):
            part = tuple(members[first : first + size])
            shared = len({run.config["data"]["seed"] for run in part}) == 1
            packs.append(Pack(part, shared, reasons[key]))
    return packs


def preview(packs: Sequence[Pack]) -> str:
    """A table of all points, how they are packed, and how far each is."""
    rows, words = {}, []
    for number, pack in enumerate(packs, 1):
        for run in pack.runs:
            values = {path: value if isinstance(value, float) else str(value) for path, value in run.overrides.items()}
            rows[run.name] = {"pack": str(number), "status": run.status.get("status", "new"), **values}
        batches = "share their batches" if pack.shared else "carry their own indices"
        several = f"{len(pack.runs)} points train as one program and {batches}"
        one = f"1 point trains alone{f': {pack.alone}' if pack.alone else ''}"
        words.append(f"pack {number}: {several if len(pack.runs) > 1 else one}")
    return "\n".join([tabulate(rows), "", *words])


def _written(point: Mapping) -> dict:
    """The overrides with entries named as flags name them: `model` is short for `model.name`."""
    names = {path: f"{path}.name" for path in sections.ROOMS.values() if path != "augment"}
    return {names.get(path, path): value for path, value in point.items()}


def _unpackable(config: Mapping) -> str:
    """Why a config has to train by itself; "" if it does not."""
    if config["train"]["devices"] > 1:
        return "train.devices asks for several devices"
    if config["report"]["wandb"]:
        return "report.wandb takes one run a process"
    return ""


def _program_of(config: Mapping) -> str:
    """A text that two configs have in common if and only if the same compiled program trains them."""
    numbers = sections.numeric(config)
    masked = sections.with_numbers(config, dict.fromkeys(numbers, 0.0))
    masked["seed"] = masked["data"]["seed"] = 0
    for section in (masked["train"], masked["schedule"]):  # what the host alone goes by
        section |= {"patience": 0} if "patience" in section else {}
    return json.dumps([masked, [numbers[f"optimizer.{name}"] > 0 for name in ("ema", "sam")]], sort_keys=True)
