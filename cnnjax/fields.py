"""The words of a batch, and what may be known of a data set: the vocabulary that data, augmentation and tasks share."""

from dataclasses import dataclass, field

__all__ = ["INPUTS", "Facts"]

INPUTS = ("image", "video", "series", "tokens")
"""The words that a net may read."""


@dataclass(frozen=True)
class Facts:
    """What nets, tasks and augmentations may know of a data set.

    `shape` is that of one example's input, channels last; `mean` and `std` are per channel, in [0, 1] units,
    from the training split (from 256 evenly spaced examples of it where it is streamed). `fields` holds shape and dtype
    of one example's words; `black` and `white` what 0 and 1 of the data are, per channel.
    """

    input: str = "image"
    shape: tuple = ()
    classes: int = 0
    counts: dict = field(default_factory=dict)
    mean: tuple = ()
    std: tuple = ()
    names: tuple = ()
    extra: dict = field(default_factory=dict)
    fields: dict = field(default_factory=dict)
    black: tuple = ()
    white: tuple = ()
