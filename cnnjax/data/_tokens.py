"""Texts as whole numbers: how they are cut into words, which words there are, and which number each has."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

PADDING, UNKNOWN = "<padding>", "<unknown>"  # no word is written so: both stand at 0 and 1 of every vocabulary
_CUT_OFF = r"n't\b|'(?:s|ve|re|d|ll)\b"
_WORD = re.compile(rf"{_CUT_OFF}|[(),!?]|(?:(?!{_CUT_OFF})(?:[^\W_]|['`]))+")


def tokenized(text: str) -> list[str]:
    """The words of a text in lower case, and the marks ( ) , ! ? as words of their own (Kim 2014).

    What English joins on is cut off (`it 's`, `do n't`); all other signs part words and fall away.
    """
    return _WORD.findall(text.lower())


def vocabulary(texts: Iterable[Sequence[str]], rare: int) -> tuple[str, ...]:
    """The words that occur at least `rare` times in these cut texts, the most frequent first, behind the first two."""
    counts = Counter(word for words in texts for word in words)
    kept = sorted((-count, word) for word, count in counts.items() if count >= rare)
    return (PADDING, UNKNOWN, *(word for _, word in kept))


def numbered(texts: Sequence[Sequence[str]], words: Sequence[str], length: int) -> np.ndarray:
    """Cut texts as numbers of words (N, length): longer ones lose their end, shorter ones are filled up with 0."""
    places = {word: place for place, word in enumerate(words)}
    found = np.zeros((len(texts), length), np.int32)
    for row, text in zip(found, texts, strict=True):
        kept = [places.get(word, 1) for word in text[:length]]
        row[: len(kept)] = kept
    return found
