"""What differs between two records of a run, which of it touches the result, and how that is said."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

_HARMLESS = (
    "report.",
    "checkpoint.",
    "eval.",
    "data.workers",
    "data.resident",
    "data.root",
    "train.devices",
    "train.minutes",
    "train.parallel",
)
_ORIGIN = ("cnnjax", "commit", "python", "versions", "processes")
_EXAMPLES = "dataset.examples."
_ROUNDING = 1e-3  # of a mean that is estimated from decoded pictures: a quarter of a grey level
_SHOWN = 12  # entries of two rows together that are still shown whole

type Changes = dict[str, tuple[Any, Any]]


def changes(old: Mapping, new: Mapping) -> Changes:
    """(old, new) of what differs between two records, by path; what only one of them knows is no change."""
    before, after = _leaves(old), _leaves(new)
    shared = [path for path in after if path in before]
    return {path: (before[path], after[path]) for path in shared if not _same(path, before[path], after[path])}


def flat(tree: Mapping, prefix: str = "") -> dict[str, Any]:
    """The leaves of nested mappings by dotted path."""
    leaves = {}
    for key, value in tree.items():
        leaves |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return leaves


def of_data(path: str) -> bool:
    """Whether a path of a record is one of its data."""
    return path.startswith("dataset.")


def of_config(changed: Changes, config: Mapping) -> Changes:
    """The changes of a config that touch the result of a run that goes on with this one."""
    known = flat(config)
    by_eval = known.get("train.patience") or "schedule.patience" in known  # then it matters when and how one looks
    harmless = tuple(path for path in _HARMLESS if not (by_eval and path == "eval."))
    metric = {"checkpoint.metric"} if by_eval else set()
    return {
        path: pair
        for path, pair in changed.items()
        if path in known and (path in metric or not path.startswith(harmless))
    }


def in_words(changed: Changes, *, most: int = 4) -> str:
    """Changes, old → new; of many the first ones."""
    words = "; ".join(f"{path}: {told(path, *pair)}" for path, pair in [*changed.items()][:most])
    return words + (f" and {len(changed) - most} more" if len(changed) > most else "")


def told(path: str, old: Any, new: Any) -> str:
    """Old → new; of long rows (names, say) what has gone and what has come."""
    if path.startswith(_EXAMPLES):
        return "others than before"
    rows = isinstance(old, Sequence) and isinstance(new, Sequence) and not isinstance(old, str)
    if not rows or len(old) + len(new) <= _SHOWN:
        return f"{_short(old)} → {_short(new)}"
    gone, come = [each for each in old if each not in new], [each for each in new if each not in old]
    if not gone and not come:
        return "in another order"
    return f"{_few(gone)} → {_few(come)}"


def _leaves(record: Mapping) -> dict[str, Any]:
    """What a record is compared by: all but the command that it was made by."""
    devices = record.get("devices", {})
    shown = ", ".join(f"{count} × {name}" for name, count in sorted(devices.items()))
    origin = {name: record[name] for name in _ORIGIN if name in record}
    rest = {"dataset": record.get("dataset", {}), **origin}
    return flat(record.get("config", {})) | flat(rest) | ({"devices": shown} if devices else {})


def _same(path: str, old: Any, new: Any) -> bool:
    if path == "dataset.mean" and len(old) == len(new):
        return all(math.isclose(a, b, rel_tol=0, abs_tol=_ROUNDING) for a, b in zip(old, new, strict=True))
    return old == new or (path.startswith(_EXAMPLES) and "" in (old, new))


def _short(value: Any) -> str:
    """A commit by its first digits, anything else as it is; an empty text is seen."""
    return re.sub(r"^([0-9a-f]{12})[0-9a-f]{28}(\+?)$", r"\1\2", str(value)) or "''"


def _few(names: Sequence) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(map(str, names[:3])) + more or "nothing"
