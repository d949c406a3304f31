"""Recordings: WAV files with a class each, by their folders or by their names."""

import math
import os
import re
from collections.abc import Sequence
from typing import Annotated, NamedTuple

import numpy as np

from cnnjax.annotations import AtLeastOne, Count, FilePath, Gives, Positive, Static, Text
from cnnjax.data._bearable import file_bytes
from cnnjax.data._files import OnDisk, directory
from cnnjax.data._listing import few, files_below, split_directories, subdirectories
from cnnjax.data._pictures import Budget, Mixed, reason, source_of
from cnnjax.data._wav import resampled, samples_of
from cnnjax.data.placing import Placing
from cnnjax.data.source import DataError, Source
from cnnjax.refusals import nearest, refuse_misfits

__all__ = ["SOUND", "recordings", "sounds"]

SOUND = (".wav", ".wave")
"""How the names of files end that hold sound."""

_ALONE = Placing((1.0, 1.0), (0.0, 0.0), (1, 1), (1, 1))  # of a sound no place is carried anywhere
_NAMED = "{label}_{group}_{number}"
_PARTS = ("label", "group", "number", "_")


def sounds(
    *,
    root: FilePath = "",
    seconds: Static[Positive] = 1.0,
    rate: Count = 0,
    pattern: Text = "",
    test_groups: tuple[Text, ...] = (),
    test_below: Count = 0,
    together: bool = False,
    budget: Budget = -1,
    holdout: Count = 0,
) -> Annotated[Source, Gives(label="", group="pattern={label}_{group}_{number}")]:
    """Recordings as `series` (T, 1) from -1 to 1, `seconds` of each, and their classes: WAV files of 8 to 32 bits.

        root/yes/0a7c2a8d_nohash_0.wav     a directory per class; both also below train/, val/ and test/
        root/7_jackson_32.wav              or none, and names by the pattern {label}_{group}_{number}

    Of a longer recording the middle is read; a shorter one has silence, zeros, before and behind. `rate` is how many
    samples there are a second: others are resampled; with 0 all files must have that of the first. Channels are
    averaged. What is silent throughout, has no samples, is cut short or no WAV is passed over by name, up to `budget`
    in a split (-1: 0.1 % of it and at least 10).
    `pattern` says what files' names are made of: {label}, {group}, {number} and {_} for the rest, as in
    {group}_nohash_{number} in directories of classes. Recordings of a `group`, a speaker, are held out together.
    Of a set in one piece `test_groups` are for testing, or the numbers below `test_below`, else every fifth group, or
    file where there are no groups; `together` keeps all for both, which `data.folds` tells apart, by groups.
    """
    refuse_misfits(sounds, locals(), path="data.")
    base = directory(root)
    found = split_directories(base)
    listed = {split: _listed(base, where, pattern) for split, where in found.items()}
    names = tuple(sorted({each.label for each in listed["train"]}, key=_in_order))
    _refuse_unknown(listed, names)
    listed = _apart(listed, test_groups, test_below, together, holdout)
    speakers = sorted({each.group for part in listed.values() for each in part} - {""}, key=_in_order)
    own = rate or _first_rate(base, listed["train"])
    options = {"shape": (max(round(seconds * own), 1), 1), "depth": 16, "fit": "", "budget": budget}
    options |= {"rate": own, "resample": bool(rate), "names": names, "speakers": speakers}
    splits = {
        split: Recorded(base, part, train=split == "train" and not together, **options)
        for split, part in listed.items()
    }
    test = splits.get("test", splits.get("eval", splits["train"]))
    held = splits.get("eval", test)
    return source_of(splits["train"], held, test, holdout=holdout, names=names, extra={"rate": own})


def recordings(
    paths: Sequence[str | os.PathLike], shape: tuple[AtLeastOne, AtLeastOne], *, rate: AtLeastOne
) -> tuple[np.ndarray, dict[str, str]]:
    """The middle of each recording as (N, *shape) float32, as `sounds` reads it, and why others can't be read.

    Those that can't be read are left out.
    """
    refuse_misfits(recordings, locals(), path="data.")
    read, bad = [], {}
    for path in map(str, paths):
        try:
            samples, own = samples_of(file_bytes(path))
            read.append(_placed(samples, own, shape[0], rate))
        except MemoryError:
            raise
        except Exception as error:  # whatever a damaged file does to its reader
            bad[path] = reason(error)
    whole = np.stack(read) if read else np.zeros((0, shape[0]), np.float32)
    return np.repeat(whole[..., None], shape[1], 2), bad


class _Recording(NamedTuple):
    """A file, and what its name or its directory says of it."""

    label: str
    path: str
    group: str = ""
    number: int = -1


class _OtherRate(Mixed):
    cure = "set data.rate to bring all to one"


class Recorded(OnDisk):
    """Recordings and their classes, and who made them where that is known."""

    word = "series"

    def __init__(self, base, part, *, rate, resample, names, speakers, **options):
        super().__init__(base, [each.path for each in part], **options)
        self.rate, self.resample = rate, resample
        self.labels = np.asarray([names.index(each.label) for each in part], np.int32)
        groups = {group: number for number, group in enumerate(speakers)}
        self.groups = np.asarray([groups[each.group] for each in part if groups], np.int32)

    def words(self, place):
        group = {"group": self.groups[place]} if len(self.groups) else {}
        return {"label": self.labels[place], **group}

    def classes(self):
        return self.labels[self.rows]

    def decoded(self, place, data):
        samples, rate = samples_of(data)
        if rate != self.rate and not self.resample:
            raise _OtherRate(f"{rate} samples a second, the others {self.rate}")
        return _placed(samples, rate, self.shape[0], self.rate)[:, None], _ALONE

    def kept(self, read):
        return read

    def said(self, place):
        group = self.groups[place] if len(self.groups) else -1
        return f"{self.rate} {self.shape[0]} {self.labels[place]} {group}".encode()


def _placed(samples, rate, steps, wanted):
    """(steps,) samples at the rate that is wanted: the middle of a longer recording, a shorter one in the middle."""
    margin = 32 * -(-rate // wanted)
    most = math.ceil(steps * rate / wanted) + 2 * margin
    over = max(len(samples) - most, 0) // 2
    samples = resampled(samples[over : over + most], rate, wanted)
    over = max(len(samples) - steps, 0) // 2
    samples = samples[over : over + steps]
    if (samples == samples[0]).all():
        raise ValueError("silence: every sample is the same")
    before = (steps - len(samples)) // 2
    return np.pad(samples, (before, steps - len(samples) - before))


def _in_order(name):
    return (0, int(name), name) if name.isascii() and name.isdigit() else (1, 0, name)


def _listed(base, where, pattern):
    """The recordings of a directory whose directories are classes, or whose files' names say theirs; by class."""
    classes = subdirectories(where)
    loose = sorted(each.name for each in os.scandir(where) if each.name.lower().endswith(SOUND) and each.is_file())
    if loose and classes:
        raise DataError(f"{where} has {few(loose)} beside the directories {few(classes)}; classes are one or the other")
    if not loose and not classes:
        raise DataError(f"{where} has no {SOUND[0]} files, and no directories of classes that have some")
    found, inner = [], os.path.relpath(where, base)
    if loose:
        named = _expression(pattern or _NAMED, "label")
        for name in loose:
            found.append(_named(os.path.normpath(f"{inner}/{name}"), named, pattern or _NAMED))
    for label in classes:
        named = _expression(pattern, "") if pattern else ()
        files = sorted(files_below(base, os.path.normpath(f"{inner}/{label}")))
        held = [file for file in files if file.lower().endswith(SOUND)]
        if not held:
            others = few(sorted({os.path.splitext(file)[1] or os.path.basename(file) for file in files}))
            only = f", only {others}" if files else ""
            raise DataError(f"{os.path.join(where, label)} has no {SOUND[0]} files{only}")
        found += [_named(file, named, pattern, label) if named else _Recording(label, file) for file in held]
    return sorted(found, key=lambda each: (_in_order(each.label), each.path))


def _expression(pattern, needed):
    """The regular expression of a pattern of names, whose parts in braces are known and there once."""
    pieces = re.split(r"\{([^{}]*)\}", pattern)
    parts = [part for part in pieces[1::2] if part != "_"]
    wrong = next((part for part in pieces[1::2] if part not in _PARTS), "")
    if wrong or len(set(parts)) < len(parts) or ("label" in parts) != bool(needed) or not parts:
        classes = "classes are directories"
        classes = "it must have {label}, for there are no directories of classes" if needed else classes
        what = f"there is no {{{wrong}}}" if wrong else f"each part stands there once; {classes}"
        raise DataError(f"data.pattern is {pattern!r}; {what}; parts are {{label}}, {{group}}, {{number}} and {{_}}")
    said = {"label": "(?P<label>.+?)", "group": "(?P<group>.+?)", "number": r"(?P<number>\d{1,9})", "_": ".*?"}
    return re.compile("".join(said[piece] if n % 2 else re.escape(piece) for n, piece in enumerate(pieces)))


def _named(path, named, pattern, label=""):
    stem = os.path.splitext(os.path.basename(path))[0]
    match = named.fullmatch(stem)
    if not match:
        raise DataError(f"{path} is not named by the pattern {pattern}; rename it, or set data.pattern")
    said = match.groupdict()
    return _Recording(said.get("label", label), path, said.get("group", ""), int(said.get("number", -1)))


def _refuse_unknown(listed, names):
    """Refuses classes that the training set lacks."""
    for part in listed.values():
        for each in part:
            if each.label not in names:
                near = nearest(each.label, names, count=1)
                hint = f", did you mean {near[0]}?" if near else ""
                raise DataError(
                    f"{each.path} has the class {each.label}, which the training set lacks{hint}; it has {few(names)}"
                )


def _apart(listed, test_groups, test_below, together, holdout):
    """The recordings of each split: of a set in one piece as the options say."""
    asked = [f"data.test_groups={','.join(test_groups)}"] * bool(test_groups)
    asked += [f"data.test_below={test_below}"] * bool(test_below) + ["data.together"] * together
    also = [f"a {split} split" for split in listed if split != "train"]
    also += [f"data.holdout={holdout}"] * (together and holdout > 0)
    if len(asked) > 1 or (asked and also):
        raise DataError(f"{' and '.join([*asked, *also])} say which recordings are for testing; leave one out")
    whole = listed["train"]
    if len(listed) > 1 or together:
        return listed
    groups = sorted({each.group for each in whole}, key=_in_order)
    if test_below:
        if whole[0].number < 0:
            raise DataError(f"data.test_below is {test_below}, but data.pattern has no {{number}}")
        tested = [each.number < test_below for each in whole]
    elif test_groups or len(groups) > 1:
        if unknown := [group for group in test_groups if group not in groups]:
            known = few(groups) if groups != [""] else "none: data.pattern has no {group}"
            raise DataError(f"data.test_groups has {unknown[0]!r}; there are {known}")
        tested = [each.group in (test_groups or groups[::5]) for each in whole]
    else:
        tested = [place % 5 == 0 for place in range(len(whole))]
    parts = {"train": [], "test": []}
    for each, of_test in zip(whole, tested, strict=True):
        parts["test" if of_test else "train"].append(each)
    if empty := next((split for split, part in parts.items() if not part), ""):
        raise DataError(f"{' '.join(asked) or 'every fifth recording'} leaves none for the {empty} split")
    return parts


def _first_rate(base, part):
    """How many samples a second has the first recording that can be read."""
    why = ""
    for each in part:
        try:
            return samples_of(file_bytes(os.path.join(base, each.path)))[1]
        except (OSError, ValueError) as error:  # its split will say so by name
            why = why or f"{each.path}: {reason(error)}"
    raise DataError(f"{base}: not one of the {len(part)} recordings for training can be read; the first is {why}")
