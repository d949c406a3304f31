"""MNIST of which a share of the training labels is wrong."""

import numpy as np

from cnnjax.data import Source, from_arrays, mnist


def flipped(*, share: float = 0.05) -> Source:
    """The digits, of which a share have the label of another class, drawn from seed 0."""
    digits = mnist()
    train, test = (split.read(range(len(split))) for split in (digits.train, digits.test))
    return from_arrays({**train, "label": wrong(train["label"], share)}, test, names=digits.facts.names)


def wrong(label: np.ndarray, share: float) -> np.ndarray:
    """The labels with a share of them moved to another class."""
    draw = np.random.default_rng(0)
    moved = draw.permutation(len(label))[: round(share * len(label))]
    label = label.copy()
    label[moved] = (label[moved] + draw.integers(1, 10, len(moved))) % 10
    return label
