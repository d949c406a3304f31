"""Texts with a class each, as the numbers of their words."""

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Literal

import numpy as np

from cnnjax.annotations import AtLeastOne, Bounds, Count, FilePath, Gives, Text
from cnnjax.data._listing import few, split_directories, split_of, subdirectories
from cnnjax.data._rows import TABLES, Row, content_of, row_of_file, rows_of_lines, rows_of_table, texts_below
from cnnjax.data._tokens import numbered, tokenized, vocabulary
from cnnjax.data.source import DataError, Memory, Source, assemble, every_fifth, hold_out, within_budget
from cnnjax.refusals import nearest, on_disk, refuse_misfits

__all__ = ["Encoding", "texts", "texts_of", "tokens"]

Encoding = Literal["utf-8", "latin-1", "cp1252", "utf-16"]
_MOST = 0.95  # of the training texts are not cut


def texts(
    *,
    path: FilePath = "",
    text: Text = "text",
    label: Text = "label",
    length: Count = 0,
    rare: AtLeastOne = 1,
    words: FilePath = "",
    together: bool = False,
    encoding: Encoding = "utf-8",
    budget: Annotated[int, Bounds(-1)] = -1,
    holdout: Count = 0,
) -> Annotated[Source, Gives(label="")]:
    """Texts as `tokens` (T,), the numbers of their words, and the class of each.

        path/train.tsv, path/test.tsv     or .csv, .jsonl; may be one file
        path/pos.txt, path/neg.txt        a class each, with a text on every line
        path/pos/1.txt, path/neg/2.txt    a class each, with a text in every file; both also below train/ and test/

    Tables have the columns `text` and `label`, named in their first line (.jsonl: in every object). Words are cut and
    lower-cased as by Kim 2014: ( ) , ! ? stand alone, "isn't" is "is n't". `facts.extra["words"]` are those that occur
    at least `rare` times in the training texts, without those held out, and those on the lines of the file `words` (of
    a file of vectors, for words that no training text has but others may); 0 fills up, 1 is any other word. `length`
    words of a text are kept (0: as many as 95 % of these texts have). Of a set in one piece every fifth text is for
    testing; `together` keeps all for both, which `data.folds` tells apart: the words are then those of all, as Kim's. A
    text that is empty or has no class is passed over, up to `budget` in a split (-1: 0.1 % of it and at least 10).
    """
    refuse_misfits(texts, locals(), path="data.")
    found = {
        split: Corpus.read(rows, f"{split} split ({where})", budget)
        for split, where, rows in _splits(path, text=text, label=label, encoding=encoding)
    }
    names = _names(found["train"])
    if together and (len(found) > 1 or holdout):
        what = f"the set has splits ({', '.join(found)})" if len(found) > 1 else f"data.holdout is {holdout}"
        raise DataError(f"data.together keeps a set in one piece, but {what}; leave one of them out")
    if len(found) == 1 and not together:
        train, test = (found["train"].at(places) for places in _apart(len(found["train"])))
        found = {"train": train, "test": test}
    learnt = _without_held_out(found, holdout)
    known = vocabulary(learnt.cut, rare)
    known = tuple(dict.fromkeys((*known, *(_words_of(words) if words else ()))))
    length = length or max(1, int(np.quantile([len(cut) for cut in learnt.cut], _MOST, method="inverted_cdf")))
    made = {split: corpus.numbered(known, length, names, split) for split, corpus in found.items()}
    test = made.get("test", made.get("eval", made["train"]))
    extra = {"words": known}
    own = made.get("eval", test)
    return assemble(made["train"], own, test, holdout=holdout, names=names, input="tokens", extra=extra)


def _words_of(path):
    """The words of a file, one on each line."""
    try:
        content = content_of(str(on_disk(path, "data.words").expanduser()), "utf-8", option="")
    except DataError as error:
        raise DataError(f"data.words: {error}") from None
    found = [line.strip() for line in content.split("\n")]
    several = next((line for line in found if len(line.split()) > 1), "")
    if several:
        raise DataError(f"data.words is {path}, where {several!r:.40} stands on one line; give a word on each")
    return [word for word in found if word]


def tokens(texts: Sequence[str], words: Sequence[str], length: int) -> np.ndarray:
    """Texts as the numbers of their words, (N, length), as `texts` reads them; a row of zeros has no word."""
    return numbered([tokenized(text) for text in texts], words, length)


def texts_of(path: str, *, text: str = "text", encoding: Encoding = "utf-8") -> Iterator[tuple[str, str, str]]:
    """(place, text, what is wrong with it) of every text of a file that need have no classes.

    A table as of `texts`, or any other file with a text on each line.
    """
    if path.lower().endswith(TABLES):
        rows: Iterable[Row] = rows_of_table(path, path, text=text, label="", encoding=encoding, option="")
    else:
        rows = rows_of_lines(path, path, "", encoding, option="")
    for row in rows:
        yield row.place, row.text, row.wrong


class Texts(Memory):
    """Texts as numbers with their classes, each of which has a name: its file and line."""

    def __init__(self, arrays: dict[str, np.ndarray], places: Sequence[str]):
        super().__init__(arrays)
        self.places = places

    def name(self, index: int) -> str:
        return self.places[index]

    def only(self, indices: np.ndarray, train: bool) -> "Texts":
        taken = Texts(self.read(indices), [self.places[index] for index in indices])
        taken.bad, taken.budget = self.bad, self.budget
        return taken


class Corpus:
    """The texts of a split, cut into words, before these have numbers."""

    def __init__(self, places: list[str], cut: list[list[str]], labels: list[str]):
        self.places, self.cut, self.labels = places, cut, labels
        self.bad, self.budget = {}, 0

    def __len__(self):
        return len(self.places)

    @classmethod
    def read(cls, rows: Iterable[Row], where: str, budget: int) -> "Corpus":
        """The texts that can be used; DataError where the others are more than the budget allows."""
        corpus, total = cls([], [], []), 0
        for row in rows:
            total += 1
            words = [] if row.wrong else tokenized(row.text)
            if row.wrong or not words:
                corpus.bad[row.place] = row.wrong or f"there is no word in {row.text!r:.40}"
                continue
            corpus.places.append(row.place)
            corpus.cut.append(words)
            corpus.labels.append(row.label)
        corpus.budget = max(10, total // 1000) if budget < 0 else budget
        within_budget(corpus)
        if not corpus.cut:
            bad = [f"; of {len(corpus.bad)} the first is {place}: {why}" for place, why in corpus.bad.items()][:1]
            raise DataError(f"the {where} has no text that can be used{''.join(bad)}")
        return corpus

    def at(self, places: np.ndarray) -> "Corpus":
        """Those at some places alone."""
        taken = Corpus(*([values[place] for place in places] for values in (self.places, self.cut, self.labels)))
        taken.bad, taken.budget = self.bad, self.budget
        return taken

    def numbered(self, words: Sequence[str], length: int, names: Sequence[str], split: str) -> Texts:
        """The same as numbers; refuses a class that the training texts lack."""
        kinds = {name: kind for kind, name in enumerate(names)}
        for place, label in zip(self.places, self.labels, strict=True):
            if label not in kinds:
                near = nearest(label, names, count=1)
                hint = f", did you mean {near[0]}?" if near else ""
                raise DataError(
                    f"{split}: {place} has the class {label!r:.60}, which the training texts lack{hint}; "
                    f"they have {few([name[:40] for name in names])}"
                )
        label = np.array([kinds[name] for name in self.labels], np.int32)
        made = Texts({"tokens": numbered(self.cut, words, length), "label": label}, self.places)
        made.bad, made.budget, made.left_out = self.bad, self.budget, len(self.bad)
        return made


def _names(train):
    """The classes of the training texts in order: of their numbers, where all are whole numbers."""
    names = set(train.labels)
    return tuple(sorted(names, key=int) if all(name.isascii() and name.isdigit() for name in names) else sorted(names))


def _apart(count):
    """The places for training and for testing of a set that comes in one piece, where order is no accident."""
    places = Memory({"place": np.arange(count)})
    return [part.arrays["place"] for part in every_fifth(places)]


def _without_held_out(found, holdout):
    """The training texts that remain where `assemble` holds so many out: words of the others are unknown to a net."""
    train = found["train"]
    if not holdout or "eval" in found:  # which are refused together
        return train
    remaining, _ = hold_out(Memory({"place": np.arange(len(train))}), holdout)
    return train.at(remaining.arrays["place"])


def _splits(path, **options):
    """(split, where it stands, its rows) of the files at a path."""
    if not path:
        raise DataError("data.path is empty; name the file or folder, --config.data.path=reviews.csv")
    base = str(on_disk(path, "data.path").expanduser())
    if os.path.isfile(base):
        if not base.lower().endswith(TABLES):
            raise DataError(f"data.path is {path}; a file must be {', '.join(TABLES)}, a folder may hold .txt files")
        name = os.path.basename(base)
        return [("train", name, rows_of_table(base, name, **options))]
    if not os.path.isdir(base):
        raise DataError(f"data.path is {path}; there is no such file or folder")
    if found := _tables(base):
        return [
            (split, name, rows_of_table(os.path.join(base, name), name, **options)) for split, name in found.items()
        ]
    found = split_directories(base)
    return [(split, where, _of_classes(base, where, options["encoding"])) for split, where in found.items()]


def _tables(base):
    """The table of each split in a directory; {} where it has none."""
    names = sorted(name for name in os.listdir(base) if name.lower().endswith(TABLES) and not name.startswith("."))
    if len(names) == 1 and not split_of(os.path.splitext(names[0])[0]):
        return {"train": names[0]}
    found = {}
    for name in names:
        split = split_of(os.path.splitext(name)[0])
        if not split or split in found:
            what = f"{found[split]} and {name} are both for {split}" if split else f"{name} is of no split"
            raise DataError(f"{base} has {few(names)}, of which {what}; name one each train, eval and test")
        found[split] = name
    if found and "train" not in found:
        raise DataError(f"{base} has {few(names)}, but no train; training needs texts of its own")
    return {split: found[split] for split in ("train", "eval", "test") if split in found}


def _of_classes(base, directory, encoding):
    """The texts of a split whose classes are folders of .txt files, or .txt files with a text on each line."""
    classes, files = subdirectories(directory), texts_below(directory)
    if classes and files:
        raise DataError(f"{directory} has {few(files)} beside the folders {few(classes)}; classes are one or the other")
    if not classes and not files:
        raise DataError(f"{directory} has no {', '.join(TABLES)} and no .txt files, and no folders of these")
    for file in files:
        path = os.path.join(directory, file)
        yield from rows_of_lines(path, os.path.relpath(path, base), os.path.splitext(file)[0], encoding)
    for name in classes:
        inside = texts_below(os.path.join(directory, name))
        if not inside:
            raise DataError(f"{os.path.join(directory, name)} has no .txt files; each is one text")
        for file in inside:
            path = os.path.join(directory, name, file)
            yield row_of_file(path, os.path.relpath(path, base), name, encoding)
