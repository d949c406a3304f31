"""Vectors of words from a file, in the tables of a net that has a row for each word of its data."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import jax
import numpy as np

from cnnjax import weights
from cnnjax.archives import ArchiveError, arrays_in, regular
from cnnjax.config import ConfigError
from cnnjax.data.source import DataError
from cnnjax.fields import Facts

_ENOUGH = 0.2  # of the data's words must have a vector: what the words of two languages share is less
_TEXT = (".txt", ".vec")
_LONGEST = 2**20  # bytes of a line
_CURE = "give vectors of these words, or leave train.init empty"


def holds_vectors(path: Path) -> bool:
    """Whether a file is one of word vectors: text, or arrays of which `vectors` is one."""
    if path.suffix.lower() in _TEXT:
        return path.is_file()
    if path.suffix.lower() not in (".safetensors", ".npz") or not path.is_file():
        return False
    return "vectors" in weights.read(path)


def with_vectors(params: Mapping, path: Path, facts: Facts) -> tuple[Mapping, str]:
    """The parameters with the file's vectors in all tables of words, and what was done.

    A word without a vector keeps what was drawn for it, as large on average as the vectors are.
    """
    words = tuple(facts.extra.get("words", ()))
    leaves, structure = jax.tree_util.tree_flatten_with_path(params)
    tables = [k for k, (place, leaf) in enumerate(leaves) if _is_table(place, leaf, len(words))]
    if not tables:
        raise ConfigError(
            f"train.init is {str(path)!r}, vectors of words, but the net has no table of the data's words"
        )
    values = [np.asarray(leaf) for _, leaf in leaves]
    size, wanted = values[tables[0]].shape[1], {word: place for place, word in enumerate(words) if place > 1}
    rows = np.full((len(words), size), np.nan, np.float32)
    for word, vector in _vectors(path, size):
        place = wanted.get(word, wanted.get(word.lower()))
        if place is not None and (word == words[place] or np.isnan(rows[place, 0])):
            rows[place] = vector
    there = ~np.isnan(rows).any(1)
    if not np.isfinite(rows[there]).all():
        raise DataError(f"train.init: vectors of {path} are not finite; {_CURE}")
    if there.sum() < _ENOUGH * len(wanted):
        raise DataError(
            f"train.init: {path} has vectors of {there.sum():,} of the data's {len(wanted):,} words, where at least "
            f"{_ENOUGH:.0%} are needed (of another language, or cut in another way?); {_CURE}"
        )
    deviation = float(rows[there].std())
    for k in tables:
        drawn = values[k] * (deviation / max(float(values[k].std()), 1e-12))
        values[k] = np.where(there[:, None], rows, drawn).astype(values[k].dtype)
    told = f"{there.sum():,} of {len(wanted):,} words began from {path}; the others are drawn as large as these"
    return jax.tree_util.tree_unflatten(structure, values), told


def _is_table(place: tuple, leaf, count: int) -> bool:
    return place[-1].key == "vectors" and leaf.ndim == 2 and len(leaf) == count


def _vectors(path: Path, size: int) -> Iterator[tuple[str, np.ndarray]]:
    """(word, its vector) of a file, which must be of so many numbers."""
    if path.suffix.lower() in _TEXT:
        yield from _of_text(path, size)
        return
    vectors, words = weights.read(path)["vectors"], _words_of(path)
    if vectors.ndim != 2 or len(vectors) != len(words):
        shape = "×".join(map(str, vectors.shape))
        raise DataError(
            f"train.init: {path} has vectors of shape {shape}, but {len(words):,} words go with them; "
            "give as many words as vectors, or leave train.init empty"
        )
    _refuse_others(path, vectors.shape[1], size)
    yield from zip(words, np.asarray(vectors, np.float32), strict=True)


def _refuse_others(path: Path, found: int, size: int) -> None:
    if found != size:
        raise ConfigError(f"train.init: the vectors of {path} have {found} numbers; set --config.model.size={found}")


def _words_of(path: Path) -> Sequence[str]:
    """The words of a file of arrays: its array `words`, or the lines of words.txt beside it."""
    if path.suffix.lower() == ".npz":
        try:
            found = arrays_in(path)
        except ArchiveError as error:
            raise DataError(f"train.init: {path}: {error}") from None
        if "words" in found:
            return [str(word) for word in found["words"].ravel()]
    beside = path.with_name("words.txt")
    try:
        with regular(beside) as file:
            data = file.read()
    except (OSError, ValueError) as error:
        why = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else error
        raise DataError(
            f"train.init: {path} needs the words of its vectors, one on each line of {beside}: {why}"
        ) from None
    return _decoded(data, beside, 1).removesuffix("\n").replace("\r\n", "\n").split("\n")


def _decoded(data: bytes, path: Path, line: int) -> str:
    """The text of bytes that begin on a line of a file."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line += data.count(b"\n", 0, error.start)
        raise DataError(
            f"train.init: {path}:{line} is not UTF-8 (byte 0x{data[error.start]:02x}); save the file as UTF-8"
        ) from None


def _of_text(path: Path, size: int) -> Iterator[tuple[str, np.ndarray]]:
    """Lines of a word and its numbers, as of word2vec, fastText and GloVe; a first line of two numbers is skipped."""
    number = 0
    try:
        with regular(path) as file:
            while data := file.readline(_LONGEST):
                number += 1
                word, *numbers = _decoded(data, path, number).rstrip().split(" ")
                if number == 1 and len(numbers) == 1:
                    continue
                if number <= 2:
                    _refuse_others(path, len(numbers), size)
                word, numbers = " ".join([word, *numbers[:-size]]), numbers[-size:]
                yield word, _numbers(numbers, path, number, size)
    except OSError as error:
        raise DataError(f"train.init: {path} can't be read: {error.strerror}") from None


def _numbers(cells: list[str], path: Path, line: int, size: int) -> np.ndarray:
    try:
        return np.array(cells, np.float32).reshape(size)
    except ValueError:
        raise DataError(
            f"train.init: {path}:{line} is no word and {size} numbers; give a word and its vector on each line, "
            "or leave train.init empty"
        ) from None
