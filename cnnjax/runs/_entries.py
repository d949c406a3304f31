"""The checkpoints in a directory, by their names and manifests."""

import dataclasses
import re
from pathlib import Path
from typing import Any

from cnnjax.runs.manifest import Damaged, manifest_of

_NAME = re.compile(r"(\d+)(?:-(\d+))?")  # a step; saved again, `<step>-1`


@dataclasses.dataclass(frozen=True, order=True)
class Entry:
    """A checkpoint by its name, which says the step, and how often it was saved again."""

    step: int
    version: int
    path: Path = dataclasses.field(compare=False)


def entries(root: Path) -> list[Entry]:
    """Whatever has the name of a checkpoint, whole or not."""
    found = []
    if root.is_dir():
        for path in root.iterdir():
            if match := _NAME.fullmatch(path.name):
                found.append(Entry(int(match[1]), int(match[2] or 0), path))
    return found


def records(root: Path) -> dict[int, dict[str, Any]]:
    """What each checkpoint says of the run that it is of, by step, the newest last; {} of one that says nothing.

    Those whose manifest is damaged are left out: who reads them will find that.
    """
    found = {}
    for entry in sorted(entries(root)):
        try:
            found[entry.step] = manifest_of(entry.path).get("run", {})
        except (Damaged, OSError):
            continue
    return found
