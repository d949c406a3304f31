"""A network asked about the examples of files: pictures, texts, recordings, or arrays in .npz files."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import batched, groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cnnjax.data import Placing, carry, films, recordings, texts_of, tokens
from cnnjax.data.source import NOTHING, DataError
from cnnjax.programs._served import SINGLE, Served
from cnnjax.refusals import ConfigError

AT_ONCE = 256  # examples in memory
_PIXELS = 2**24  # and their pixels: what is predicted may be a number for each class of each of them


class Said(NamedTuple):
    """What a network says of one example: `words` in the pixels of its file, which has `size`; or why it is not read.

    `given` holds the words of an example that came as arrays, its truth too where the file has it; `found` what the
    network says in the pixels of its input, of which `placing` says where they lie in the file.
    """

    name: str
    path: Path
    words: Mapping = NOTHING
    size: tuple = ()
    given: Mapping = NOTHING
    error: str = ""
    found: Mapping = NOTHING
    placing: Placing | tuple = ()


def asked(served: Served, files: list[Path], texts: Sequence[str] = ()) -> Iterator[Said]:
    """What the network says of all examples of the files, in their order, then of the texts."""
    at_once, first = max(1, min(AT_ONCE, _PIXELS // int(np.prod(served.shape[:2] or 1)))), 0
    reads_texts = served.facts.input == "tokens"
    if texts and not reads_texts:
        raise ConfigError(f"--text is a text, but the network reads {served.facts.input}")
    whole = (".npz",) if reads_texts else (".npz", *SINGLE)
    for arrays, group in groupby(files, lambda path: path.suffix.lower() in whole):
        group = list(group)
        if arrays:
            for path in group:
                first += yield from _of_arrays(served, path, at_once, first)
        elif reads_texts:
            for path in group:
                first += yield from _of_texts(served, path, _texts_in(path, served.data), at_once, first)
        else:
            for start in range(0, len(group), at_once):
                chunk = group[start : start + at_once]
                of_files = _of_films if served.facts.input == "video" else _of_pictures
                of_files = _of_sounds if served.of_sound else of_files
                yield from of_files(served, chunk, at_once, first)
                first += len(chunk)
    for number, text in enumerate(texts, 1):
        first += yield from _of_texts(served, Path(f"text{number}"), [(text, text, "")], at_once, first)


def _texts_in(path, data):
    """(place, text, what is wrong with it) of the texts of a file, read as those that the network was trained on."""
    own = {name: data[name] for name in ("text", "encoding") if data.get("name") == "texts" and name in data}
    try:
        yield from texts_of(str(path), **own)
    except DataError as error:
        yield str(path), "", str(error)


def _of_texts(served, path, given, at_once, first):
    """What is said of each of these texts, as of `_of_arrays`."""
    words, count = served.facts.extra.get("words", ()), 0
    if not words:
        raise ConfigError("the network reads tokens whose words nobody named; give them as numbers in an .npz file")
    for some in batched(given, at_once):
        read = tokens([text for _, text, _ in some], words, *served.shape)
        there = read.any(1)
        found = iter(_answered(served, read[there], at_once, first + count))
        count += int(there.sum())
        for (name, text, wrong), numbers in zip(some, read, strict=True):
            if numbers.any():
                words_said = next(found)
                yield Said(name, path, words_said, given={"tokens": numbers}, found=words_said)
            else:
                yield Said(name, path, error=wrong or f"there is no word in {text!r:.40}")
    return count


def _of_pictures(served, chunk, at_once, first):
    images, placings, bad = served.read(chunk)
    rows = zip(_answered(served, images, at_once, first), placings, strict=True)
    for path in chunk:
        if str(path) in bad:
            yield Said(str(path), path, error=bad[str(path)])
            continue
        words, placing = next(rows)
        try:
            yield Said(str(path), path, carry(words, placing), placing.file, found=words, placing=placing)
        except ValueError as error:
            raise ConfigError(f"the network predicts {error}") from None


def _of_films(served, chunk, at_once, first):
    """What is said of the middle of each video."""
    read = films(chunk, served.shape, stride=served.data.get("stride", 1), fit=served.reads["fit"])
    yield from _of_inputs(served, chunk, *read, at_once, first)


def _of_sounds(served, chunk, at_once, first):
    """What is said of the middle of each recording."""
    read = recordings(chunk, served.shape, rate=round(served.facts.extra["rate"]))
    yield from _of_inputs(served, chunk, *read, at_once, first)


def _of_inputs(served, chunk, inputs, bad, at_once, first):
    rows = zip(inputs, _answered(served, inputs, at_once, first), strict=True)
    for path in chunk:
        if str(path) in bad:
            yield Said(str(path), path, error=bad[str(path)])
            continue
        given, words = next(rows)
        yield Said(str(path), path, words, (), {served.facts.input: given}, found=words)


def _of_arrays(served, path, at_once, first):
    """What is said of each example of a file, the first of which has the index `first`; their number comes back."""
    try:
        given = served.arrays(path)
    except (OSError, ValueError) as error:
        yield Said(str(path), path, error=_why(error))
        return 0
    inputs = given[served.facts.input]
    size = inputs.shape[1:3] if served.facts.input == "image" else ()
    for start in range(0, len(inputs), at_once):
        for row, words in enumerate(_answered(served, inputs[start : start + at_once], at_once, first + start), start):
            known = {word: value[row] for word, value in given.items()}
            name = str(path) if path.suffix.lower() in SINGLE else f"{path}[{row}]"
            yield Said(name, path, words, size, known, found=words)
    return len(inputs)


def _why(error):
    return str(error) if isinstance(error, DataError) else f"{type(error).__name__}: {error}"


def _answered(served, inputs, at_once, first) -> list[dict]:
    """The words of each of these inputs, the first of which has the index `first`."""
    if not len(inputs):
        return []
    found = served.predict(inputs, batch=at_once, first=first)
    if not all(np.isfinite(value).all() for value in found.values() if value.dtype.kind == "f"):
        raise ConfigError("the network's answers are not finite; are its weights, mean and std right?")
    return [{word: value[row] for word, value in found.items()} for row in range(len(inputs))]


def above(words: Mapping, threshold: float) -> Mapping:
    """The words of an example of which rows and points of lower scores are not there."""
    word = "present" if {"boxes", "corners"} & set(words) else "visible"
    return {**words, word: words[word] * (words["scores"] > threshold)} if {word, "scores"} <= set(words) else words
