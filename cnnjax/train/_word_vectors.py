"""Vectors of words from a file, in the tables of a net that has a row for each word of its data."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import jax
import numpy as np

from cnnjax import weights
from cnnjax.archives import ArchiveError, arrays_in, text_of
from cnnjax.config import ConfigError
from cnnjax.fields import Facts

_ENOUGH = 0.2  # of the data's words must have a vector: what the words of two languages share is less
_TEXT = (".txt", ".vec")
_LONGEST = 2**20  # letters of a line


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
        raise ConfigError(f"train.init: vectors of {path} are not finite")
    if there.sum() < _ENOUGH * len(wanted):
        raise ConfigError(
            f"train.init: {path} has vectors of {there.sum():,} of the data's {len(wanted):,} words; "
            f"at least {_ENOUGH:.0%} are needed: are they of another language, or cut in another way?"
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
        raise ConfigError(f"train.init: {path} has vectors of shape {shape}, but {len(words):,} words go with them")
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
            raise ConfigError(f"train.init: {path}: {error}") from None
        if "words" in found:
            return [str(word) for word in found["words"].ravel()]
    beside = path.with_name("words.txt")
    try:
        with text_of(beside) as lines:
            return lines.read().removesuffix("\n").split("\n")
    except (OSError, ValueError) as error:
        why = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else error
        raise ConfigError(
            f"train.init: {path} needs the words of its vectors, one on each line of {beside}: {why}"
        ) from None


def _of_text(path: Path, size: int) -> Iterator[tuple[str, np.ndarray]]:
    """Lines of a word and its numbers, as of word2vec, fastText and GloVe; a first line of two numbers is skipped."""
    number = 0
    try:
        with text_of(path) as lines:
            while line := lines.readline(_LONGEST):
                number += 1
                word, *numbers = line.rstrip().split(" ")
                if number == 1 and len(numbers) == 1:
                    continue
                if number <= 2:
                    _refuse_others(path, len(numbers), size)
                word, numbers = " ".join([word, *numbers[:-size]]), numbers[-size:]
                yield word, np.array(numbers, np.float32)
    except ConfigError:
        raise
    except (OSError, ValueError) as error:
        raise ConfigError(f"train.init: {path}:{number or 1} is no word and {size} numbers: {error}") from None
