"""What an evaluation says of classes and of single examples: tables for a terminal, entries for a file."""

import itertools
import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from cnnjax.analysis import calibration_error, most_confused, per_class
from cnnjax.data.source import Facts, Split, record
from cnnjax.programs._drawing import name_of, text_of
from cnnjax.programs._found_by_name import NAMED, columns, found_by_name, told
from cnnjax.refusals import ConfigError
from cnnjax.runs.lines import COUNTS, counted
from cnnjax.runs.tables import aligned, as_csv, readable, tabulate
from cnnjax.train.examples import Examined

ENDINGS = (".csv", ".json")
_LINES = 20  # of a table in a terminal; all of them are in the JSON
_ORDER = (
    "truth",
    "prediction",
    "probability",
    "truth_probability",
    "right",
    "miou",
    "things",
    "found",
    "false",
    "off",
    "loss",
)  # of columns, at the end
_ABREAST = 10  # numbers that a terminal has room for
_WIDEST = 60  # letters of a text
_NAMED = 4  # classes that one is taken for which are named in its line


def summary(found: Examined, facts: Facts) -> dict:
    """What is said of classes, as entries: `per_class`, `confused` (the most frequent first), `calibration`.

    Of things that are found, `found` of each class, and `points` of each point.
    """
    counts, bins, said = found.tables.get("confusion"), found.tables.get("calibration"), found_by_name(found, facts)
    if np.ndim(counts) == 2:
        names, places = names_of(found, facts), "right" in found.rows
        columns = per_class(counts)
        pairs = [
            {"truth": name_of(i, names), "taken_for": name_of(j, names), "count": n, "share": n / int(counts[i].sum())}
            for i, j, n in most_confused(counts)
        ]
        said["per_class"] = [
            {"class": name_of(k, names)}
            | {name: number(column[k]) for name, column in columns.items() if places or name != "iou"}
            for k in range(len(counts))
        ]
        said["confused"] = pairs
    if bins is not None:
        confidence, right, count = (column.tolist() for column in bins.T)
        said["calibration"] = {
            "error": number(calibration_error(bins)),
            "confidence": number(sum(confidence) / max(sum(count), 1)),
            "accuracy": number(sum(right) / max(sum(count), 1)),
            "bins": [
                {"above": k / len(count), "count": int(n), "confidence": c / n, "accuracy": r / n}
                for k, (c, r, n) in enumerate(zip(confidence, right, count, strict=True))
                if n
            ],
        }
    return said


def names_of(found: Examined, facts: Facts) -> tuple:
    """The names of the classes that are counted: of places, where these are predicted, else of examples."""
    if "pck" in found.tables:
        return tuple(facts.extra.get("point_names", ()))
    return tuple(facts.extra.get("segment_names", ())) if "right" in found.rows else facts.names


def number(value) -> float | int | None:
    """A number as JSON takes it: None for what is none."""
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and not math.isfinite(value) else value


def text(split: str, found: Examined, said: Mapping, step: int, bad: Mapping[str, str]) -> str:
    """All that is said of a split, for a terminal; `bad` are its files that can't be read."""
    left_out = {name for name in found.metrics if name in COUNTS or (said and name.startswith("iou_"))} | told(said)
    numbers = {name: value for name, value in found.metrics.items() if name not in left_out}
    line = [("step", step), *numbers.items()]
    blocks = [tabulate({split: dict(some)}) for some in itertools.batched(line, _ABREAST)]
    if words := counted(found.metrics):
        names = ", ".join(sorted(bad)[:_NAMED]) + ", …" * (len(bad) > _NAMED)
        blocks.append(f"{words}; what can't be read: {names}" if bad else words)
    if "per_class" in said:
        blocks += [_classes(said["per_class"], said["confused"]), _pairs(said["confused"])]
    blocks += [columns(said[word]) for word in NAMED if said.get(word)]
    if "calibration" in said:
        blocks.append(_calibration(said["calibration"]))
    return "\n\n".join(filter(None, blocks))


def _classes(rows: list[dict], pairs: list[dict]) -> str:
    """A line for each class with those that it is taken for; of many, those that are found worst."""
    taken: dict[str, list[str]] = {}
    for pair in pairs:
        taken.setdefault(pair["truth"], []).append(f"{pair['taken_for']} ×{pair['count']:,}")
    shown = rows
    if len(rows) > _LINES:
        shown = sorted(rows, key=lambda row: 2 if row["f1"] is None else row["f1"])[:_LINES]
    names, table = [name for name in rows[0] if name != "class"], []
    for row in shown:
        others = taken.get(row["class"], [])
        more = [f"and {len(others) - _NAMED} more"] if len(others) > _NAMED else []
        cells = ["–" if row[name] is None else readable(row[name]) for name in names]
        table.append([row["class"], *cells, ", ".join([*others[:_NAMED], *more])])
    widest = max((len(row[-1]) for row in table), default=0)
    table = [[*row[:-1], row[-1].ljust(widest)] for row in table]
    head = f"the {_LINES} of {len(rows)} classes with the lowest F1; --json has all\n" if len(shown) < len(rows) else ""
    return head + aligned(["class", *names, "taken for".ljust(widest)], table, left=1)


def _pairs(pairs: list[dict]) -> str:
    """The pairs of classes that are confused most."""
    if not pairs:
        return "no class is taken for another"
    table = [[f"{p['truth']} taken for {p['taken_for']}", f"{p['count']:,}", f"{p['share']:.1%}"] for p in pairs[:10]]
    more = f"\nand {len(pairs) - 10} more pairs; --json has all" if len(pairs) > 10 else ""
    return aligned(["most confused", "count", "of the truth"], table, left=1) + more


def _calibration(said: Mapping) -> str:
    """How far confidences can be believed."""
    head = (
        f"calibration  ECE {readable(said['error'])}, as the net gives it (no temperature): "
        f"mean confidence {readable(said['confidence'])}, accuracy {readable(said['accuracy'])}"
    )
    table = [
        [f"{b['above']:.2f}", f"{b['count']:,}", readable(b["confidence"]), readable(b["accuracy"])]
        for b in said["bins"]
    ]
    return f"{head}\n{aligned(['confidence above', 'count', 'mean confidence', 'accuracy'], table, left=0)}"


def entries(found: Examined, facts: Facts, split: Split, rows: np.ndarray) -> list[dict]:
    """What is said of these rows of a split, an entry for each: path, truth, prediction, loss, …"""
    return [_entry(found.rows, facts, split, int(row)) for row in rows]


def _entry(rows: Mapping, facts: Facts, split: Split, row: int) -> dict:
    index = int(rows["index"][row])
    entry: dict = {"index": index, "path": record(split, index)}
    if facts.input == "tokens":
        entry["text"] = text_of(split.read(np.array([index]))["tokens"][0], facts)
    for name, values in rows.items():
        if name in ("index", "weight"):
            continue
        value = values[row]
        if np.ndim(value):
            value = [number(part) for part in value]
        elif name in ("truth", "prediction"):
            value = name_of(int(value), facts.names)
        else:
            value = number(value)
        entry[name] = value
    return {key: entry[key] for key in sorted(entry, key=lambda key: _ORDER.index(key) if key in _ORDER else -1)}


def listed(said: list[dict]) -> str:
    """Entries as a table, those of the greatest loss for a terminal."""
    columns = [name for name in said[0] if name != "index"]
    cells = [[_cell(entry.get(name))[: _WIDEST if name == "text" else None] for name in columns] for entry in said]
    heads = ["the truth had" if name == "truth_probability" else name for name in columns]
    return aligned(heads, cells, left=1 + ("text" in columns))


def _cell(value) -> str:
    if isinstance(value, list):
        return " ".join(_cell(part) for part in value)
    return "nan" if value is None else readable(value)


def write(path: str, written: list[dict]) -> None:
    """Writes entries to a .csv or .json file, over an older one only when it is whole."""
    from cnnjax.runs.workdir import write_file

    if path.endswith(".json"):
        content = json.dumps(written, indent=1, ensure_ascii=False) + "\n"
    else:
        flat = [_flat(entry) for entry in written]
        columns = list(dict.fromkeys(key for entry in flat for key in entry))
        content = as_csv(columns, [[entry.get(name, "") for name in columns] for entry in flat])
    try:
        write_file(path, content.encode())
    except OSError as error:
        raise ConfigError(f"--output is {path!r}, which can't be written: {error.strerror}") from error


def _flat(entry: Mapping) -> dict:
    """The entry with a column for each number of what has several."""
    flat = {}
    for key, value in entry.items():
        parts = {f"{key}_{k}": part for k, part in enumerate(value)} if isinstance(value, list) else {key: value}
        flat |= {name: f"{part:.6g}" if isinstance(part, float) else part for name, part in parts.items()}
    return flat


def vet(output: str) -> None:
    """Refuses a file that rows could not be written to."""
    if output and (not output.endswith(ENDINGS) or Path(output).is_dir() or not Path(output).parent.is_dir()):
        raise ConfigError(f"--output is {output!r}; it must end in {' or '.join(ENDINGS)}, in a folder that there is")
