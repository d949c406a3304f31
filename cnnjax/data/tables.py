"""Series of numbers in text files: long ones to forecast, many that have a class each."""

import os
from typing import Annotated, Literal

import numpy as np

from cnnjax.annotations import AtLeastOne, Count, FilePath, Gives, Text
from cnnjax.data._columns import Table, table_of
from cnnjax.data._ucr import Labelled, labelled, pair_of
from cnnjax.data.source import DataError, Memory, Source, assemble
from cnnjax.refusals import refuse_misfits

__all__ = ["latest_window", "ucr", "windows"]

Lengths = Literal["refuse", "pad", "resample"]
Missing = Literal["refuse", "fill"]
Gaps = Literal["refuse", "leave_out", "fill"]
_REFERENCES = ("seasonal_naive", "linear_regression")
_FITTED = 20_000  # windows from which the regression is fitted


def windows(
    *,
    path: FilePath = "",
    past: AtLeastOne = 96,
    future: AtLeastOne = 24,
    step: AtLeastOne = 1,
    season: Count = 0,
    columns: tuple[Text, ...] = (),
    time: Text = "",
    gaps: Gaps = "refuse",
    test: Count = 0,
    holdout: Count = 0,
) -> Annotated[Source, Gives(target="")]:
    """Windows of a long series in a table, CSV, a line for each step: `series` (past, C) and `target` (future, C).

    Read are the named columns, else all but `time`, which is the first where that has dates. Windows begin `step` steps
    apart and are split in the order of time: the test set forecasts the last `test` steps (0: a tenth), eval the last
    `holdout` before these; what a window sees may lie in the part before, what it forecasts never does.

    Values are in the data's own unit. A value or a line that is missing is refused, by line; or windows with one are
    left out; or filled with the last value before it, where a window sees it: what is forecast is never made up.
    `references` (2, future, C) are two forecasts to be compared with: the value one `season` before (0: the last), and
    a linear regression on the same window, with an intercept, fitted to at most 20,000 training windows.
    """
    refuse_misfits(windows, locals(), path="data.")
    if not path:
        raise DataError("data.path is empty; name the table, --config.data.path=FILE.csv")
    table = table_of(path, columns, time)
    if gaps == "refuse" and (where := table.first_gap()):
        raise DataError(f"{os.path.basename(path)}: {where}; fill it in, or set data.gaps=leave_out or fill")
    if season > past:
        raise DataError(f"data.season is {season}, but windows see {past} steps; set data.past={season} or more")
    known = np.isfinite(table.values).all(1)
    seen = _held(table.values) if gaps == "fill" else table.values
    parts = _parts(len(known), test or -(-len(known) // 10), holdout, past, future)
    places = {name: _beginnings(seen, known, part, past, future, step) for name, part in parts.items()}
    for name, found in places.items():
        if not len(found):
            low, high = parts[name]
            raise DataError(
                f"{os.path.basename(path)}: no window of {past} + {future} steps fits into the {high - low} steps of "
                f"the {name} part; set data.past, data.future or data.{'gaps' if gaps == 'leave_out' else 'test'}"
            )
    made = {name: _made(seen, table.values, found, past, future) for name, found in places.items()}
    fitted = _regression(made["train"])
    lag = max(season, 1)
    for fields in made.values():
        naive = fields["series"][:, past - lag + np.arange(future) % lag]
        fields["references"] = np.stack([naive, _told(fitted, fields["series"], future)], 1).astype(np.float32)
    sample = table.values[slice(*parts["train"])]
    extra = {"reference_names": _REFERENCES, "seasonal_error": _error(sample, lag, path)}
    splits = {name: Windows(fields, table, places[name]) for name, fields in made.items()}
    held = splits.get("eval", splits["test"])
    return assemble(splits["train"], held, splits["test"], input="series", extra=extra)


class Windows(Memory):
    """Windows of a table, which messages call by the lines that they see."""

    def __init__(self, arrays, table: Table, places: np.ndarray):
        super().__init__(arrays)
        self.lines = table.lines[places]

    def name(self, index: int) -> str:
        return f"the window from line {self.lines[index]}"


def latest_window(path: str | os.PathLike, data: dict, shape: tuple[int, int]) -> np.ndarray:
    """The last steps (past, C) of a table, read as those were that a net has learnt from; `data` is their section."""
    gaps, (past, channels) = data.get("gaps", "refuse"), shape
    table = table_of(path, tuple(data.get("columns", ())), data.get("time", ""))
    if table.values.shape[1] != channels:
        raise DataError(f"it has {table.values.shape[1]} columns of values; the net reads {channels}")
    if len(table.values) < past:
        raise DataError(f"it has {len(table.values)} steps; the net reads {past}")
    table = table._replace(values=_held(table.values)) if gaps == "fill" else table
    last = table._replace(values=table.values[-past:], lines=table.lines[-past:])
    if where := last.first_gap():
        raise DataError(f"{where}, among the last {past} steps; fill it in")
    return last.values.astype(np.float32)


def _parts(count, test, holdout, past, future):
    """(first, last + 1) of the steps of each part, in the order of time."""
    first = count - test - holdout
    if first < past + future:
        raise DataError(
            f"the series has {count} steps, of which data.test and data.holdout leave {max(first, 0)} to train on; "
            f"a window needs {past} + {future}"
        )
    held = {"eval": (first, count - test)} if holdout else {}
    return {"train": (0, first), **held, "test": (count - test, count)}


def _held(values):
    """The same with the last value before it wherever there is none."""
    last = np.where(np.isfinite(values), np.arange(len(values))[:, None], 0)
    return np.take_along_axis(values, np.maximum.accumulate(last, 0), 0)


def _beginnings(seen, known, part, past, future, step):
    """Where the windows (N,) begin whose forecast lies in a part; of training, all of them."""
    low, high = part
    first = np.arange(max(low - past, 0), high - past - future + 1, step)
    whole = np.isfinite(seen).all(1)
    fine = _all(whole, first, past) & _all(known, first + past, future)
    return first[fine]


def _all(flags, first, count):
    total = np.concatenate([[0], np.cumsum(flags)])
    return total[first + count] - total[first] == count if len(first) else np.zeros(0, bool)


def _made(seen, values, places, past, future):
    series = np.lib.stride_tricks.sliding_window_view(seen, past, 0)[places]
    target = np.lib.stride_tricks.sliding_window_view(values, future, 0)[places + past]
    return {"series": series.swapaxes(1, 2).astype(np.float32), "target": target.swapaxes(1, 2).astype(np.float32)}


def _design(series):
    flat = series.reshape(len(series), -1).astype(np.float64)
    return np.concatenate([flat, np.ones((len(flat), 1))], 1)


def _regression(fields):
    """(past · C + 1, future · C) by least squares."""
    rows = np.unique(np.linspace(0, len(fields["series"]) - 1, _FITTED).astype(int))
    design, target = _design(fields["series"][rows]), fields["target"][rows].reshape(len(rows), -1)
    scale = np.maximum(np.abs(design).max(0), 1e-12)  # so that no column is taken for rounding
    return np.linalg.lstsq(design / scale, target.astype(np.float64), rcond=None)[0] / scale[:, None]


def _told(fitted, series, future):
    return (_design(series) @ fitted).reshape(len(series), future, series.shape[-1])


def _error(sample, lag, path):
    """The mean absolute change over a season, of each column of the training part: the unit of MASE."""
    change = np.abs(sample[lag:] - sample[:-lag])
    error = np.nanmean(change, 0) if np.isfinite(change).any(0).all() else np.zeros(sample.shape[1])
    if not (error > 0).all():
        name = os.path.basename(path)
        raise DataError(f"{name}: a column does not change over {lag} steps; leave it out of data.columns")
    return tuple(error.tolist())


def ucr(
    *, path: FilePath = "", lengths: Lengths = "refuse", missing: Missing = "refuse", holdout: Count = 0
) -> Annotated[Source, Gives(label="")]:
    """Series (T, C) with a class each, of the UCR and UEA archives: NAME_TRAIN and NAME_TEST, .ts, .tsv or .txt.

    The files may be gzipped. `path` is their folder, one of them, or FOLDER/NAME. The official split stays. Series of
    unequal lengths are refused; or padded behind their end with 0 to the longest of the training set (longer ones are
    cut), or brought to its length by straight lines. Missing values are refused, by line; or lie on a straight line
    between their neighbours, and are those of the nearest at the ends. Where series end in NaN, these end them.
    """
    refuse_misfits(ucr, locals(), path="data.")
    if not path:
        raise DataError("data.path is empty; name the set, --config.data.path=FOLDER/NAME")
    files = pair_of(path)
    read = {name: labelled(files[name]) for name in ("train", "test")}
    names = read["train"].names or tuple(sorted(set(read["train"].labels), key=_in_order))
    long = max(len(_ended(series)) for series in read["train"].series)
    splits = {}
    for split, found in read.items():
        name = files[split].name
        for label, line in zip(found.labels, found.lines, strict=True):
            if label not in names:
                raise DataError(f"{name}, line {line}: class {label!r}; those of the training set are {_few(names)}")
        series = _alike(name, found, lengths, missing, long, read["train"].series[0].shape[1])
        label = np.array([names.index(label) for label in found.labels], np.int32)
        splits[split] = Lines({"series": series, "label": label}, name, found.lines)
    train, test = splits["train"], splits["test"]
    return assemble(train, test, test, holdout=holdout, names=names, input="series")


class Lines(Memory):
    """Series that messages call by the lines of their file."""

    def __init__(self, arrays, file: str, lines: list[int]):
        super().__init__(arrays)
        self.file, self.lines = file, lines

    def name(self, index: int) -> str:
        return f"{self.file}, line {self.lines[index]},"


def _in_order(label):
    return (0, float(label), "") if label.lstrip("-").isdigit() else (1, 0.0, label)


def _few(names):
    return ", ".join(names[:8]) + ", …" * (len(names) > 8)


def _ended(series):
    """A series without the steps behind its last value."""
    known = np.flatnonzero(np.isfinite(series).any(1))
    return series[: known[-1] + 1] if len(known) else series[:0]


def _alike(name: str, found: Labelled, lengths: str, missing: str, long: int, channels: int) -> np.ndarray:
    """The series of a file, (N, long, channels)."""
    made = []
    for series, line in zip(found.series, found.lines, strict=True):
        where, series = f"{name}, line {line}:", _ended(series)
        if series.shape[1] != channels or not len(series):
            raise DataError(
                f"{where} it has {series.shape[1]} dimensions of {len(series)} values, not {channels} of some"
            )
        holes = ~np.isfinite(series)
        if holes.any() and missing == "refuse":
            step, column = np.argwhere(holes)[0]
            raise DataError(f"{where} value {step + 1} of dimension {column + 1} is missing; set data.missing=fill")
        if len(series) != long and lengths == "refuse":
            raise DataError(
                f"{where} it has {len(series)} steps, the longest of the training set {long}; "
                "set data.lengths=pad or resample"
            )
        places = np.linspace(0, len(series) - 1, long) if lengths == "resample" else np.arange(min(len(series), long))
        whole = np.zeros((long, channels), np.float32)
        for column, hole in enumerate(holes.T):
            if hole.all():
                raise DataError(f"{where} dimension {column + 1} has no values")
            whole[: len(places), column] = np.interp(places, np.flatnonzero(~hole), series[~hole, column])
        made.append(whole)
    return np.stack(made)
