"""The order of a training in which every class has the same share."""

from functools import lru_cache

import numpy as np

from cnnjax.data.source import DataError, Split, labels_of, shuffled

_ROUNDS, _CLASSES = 1, 2  # what is added to the seed, in units of 2^32, for the orders of rounds and of the classes
_TOGETHER = 4096  # places of rounds that are drawn at once
_READ = 256  # examples that are read at once for their labels


class Balanced:
    """order(step) -> index (batch,) and epoch (batch,): every class once in every round, in a new order each time.

    A round is as long as there are classes in the training set; within a class no example comes again before all others
    have come. A function of (seed, step), as any order: a batch may straddle rounds.
    """

    def __init__(self, split: Split, batch: int, seed: int):
        labels = _read(split)
        if labels.ndim != 1 or len(labels) != len(split):
            raise DataError("data.sampling is 'balanced', but the examples have no label to go by; leave it 'shuffled'")
        self.batch, self.seed = batch, seed
        self.members = [np.flatnonzero(labels == kind) for kind in np.unique(labels)]
        self._orders = {}  # by class: the number of times that it was seen whole, and its order then

    def __call__(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        count = len(self.members)
        turn, slot = np.divmod(step * self.batch + np.arange(self.batch, dtype=np.int64), count)
        together = max(1, _TOGETHER // count)
        index, epoch = np.empty(self.batch, np.int32), np.empty(self.batch, np.int32)
        kind = np.empty(self.batch, np.int64)
        for block in np.unique(turn // together):
            here = turn // together == block
            rounds = _rounds(together, count, (self.seed + (_ROUNDS << 32), int(block)))
            kind[here] = rounds[turn[here] % together, slot[here]]
        for k in np.unique(kind):
            here = np.flatnonzero(kind == k)
            times, place = np.divmod(turn[here], len(self.members[k]))
            epoch[here] = times
            for number in np.unique(times):
                index[here[times == number]] = self._shuffled(int(k), int(number))[place[times == number]]
        return index, epoch

    def _shuffled(self, kind: int, number: int) -> np.ndarray:
        """The examples of a class in their order when it is seen for the `number`-th time."""
        if self._orders.get(kind, (-1,))[0] != number:
            order = shuffled(len(self.members[kind]), (self.seed + ((_CLASSES + kind) << 32), number))
            self._orders[kind] = number, self.members[kind][order]
        return self._orders[kind][1]


@lru_cache(maxsize=4)
def _rounds(together: int, count: int, key: tuple[int, int]) -> np.ndarray:
    """(together, count): the numbers below count in a new order in every row, from raw bits as in `shuffled`."""
    bits = np.random.Philox(key=np.array(key, np.uint64)).random_raw(together * count)
    return np.argsort(bits.reshape(together, count), axis=1, kind="stable")


def _read(split: Split) -> np.ndarray:
    """The class of every example (N,), read where it is not known; (0,) where there are none."""
    if len(labels := labels_of(split)):
        return labels
    if hasattr(split, "encoded"):  # files of pictures, none of which need be decoded

        def read(index):
            return [words.get("label", ()) for _, words in split.encoded(split.rows[index])]
    elif "label" in split.read(np.zeros(1, int)):

        def read(index):
            return split.read(index)["label"]
    else:
        return labels
    starts = range(0, len(split), _READ)
    return np.concatenate([np.asarray(read(np.arange(i, min(i + _READ, len(split))))) for i in starts])
