"""Training sets of which few examples have labels: which these are, and batches of which they make half."""

import dataclasses

import numpy as np

from cnnjax.data.source import DataError, Memory, Source, Split, shuffled

_DRAW = 2  # what is added to the seed, in units of 2^32, for who keeps a label; 1 is the order of those


class HalfLabelled:
    """order(step) -> index (batch,) and epoch (batch,): by turns an example of all, and one of those that are labelled.

    Each stream is the endless concatenation of its own permutations, a function of (seed, step) as any order.
    """

    def __init__(self, split: Split, batch: int, seed: int):
        if not split.resident:
            raise DataError(
                "data.sampling is 'labelled', but these data are streamed; data.resident=yes reads them whole"
            )
        known = split.arrays.get("labelled", np.zeros(0))
        if not known.any():
            raise DataError(
                "data.sampling is 'labelled', but no example is marked as labelled or not; "
                "data.labelled=N keeps N labels of each class"
            )
        self.batch, self.seed = batch, seed
        self.streams = np.arange(len(split)), np.flatnonzero(known)
        self._kept = {}  # by stream: how often it was seen whole, and its order then

    def __call__(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        index, epoch = np.empty(self.batch, np.int32), np.empty(self.batch, np.int32)
        turn, which = np.divmod(step * self.batch + np.arange(self.batch, dtype=np.int64), 2)
        for number, members in enumerate(self.streams):
            here = which == number
            epoch[here], place = np.divmod(turn[here], len(members))
            for times in np.unique(epoch[here]):
                now = here & (epoch == times)
                order = self._order(number, int(times))
                index[now] = members[order[place[epoch[here] == times]]]
        return index, epoch

    def _order(self, number: int, times: int) -> np.ndarray:
        """The order of one stream's members when they are seen for the `times`-th time."""
        if self._kept.get(number, (-1,))[0] != times:
            self._kept[number] = times, shuffled(len(self.streams[number]), (self.seed + (number << 32), times))
        return self._kept[number][1]


def with_few_labels(source: Source, count: int, seed: int) -> Source:
    """The source with a word `labelled`: 1 for so many training examples of each class, 0 where the label is hidden."""
    train, facts = source.train, source.facts
    if not train.resident:
        raise DataError(f"data.labelled is {count}, but these data are streamed; data.resident=yes reads them whole")
    if not facts.classes or "label" not in train.arrays:
        raise DataError(f"data.labelled is {count}, but the examples have no class; leave data.labelled out")
    if train is source.test:
        raise DataError(f"data.labelled is {count}, but the data are one set for training and testing")
    label, order = train.arrays["label"], shuffled(len(train), (seed + (_DRAW << 32), 0))
    labelled = np.zeros(len(train), np.float32)
    for kind, name in enumerate(facts.names):
        members = order[label[order] == kind]
        if len(members) < count:
            raise DataError(f"data.labelled is {count}, but of {name!r} there are {len(members)} training examples")
        labelled[members[:count]] = 1
    shown = np.where(labelled > 0, label, 0).astype(label.dtype)
    hidden = Memory(train.arrays | {"label": shown, "labelled": labelled})
    hidden.bad, hidden.budget, hidden.origin = train.bad, train.budget, train.origin
    fields = {**facts.fields, "labelled": ((), np.dtype(np.float32))}
    facts = dataclasses.replace(facts, fields=fields, class_counts=(count,) * facts.classes)
    return dataclasses.replace(source, train=hidden, facts=facts)
