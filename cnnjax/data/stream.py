"""In which order examples are seen, and how they get here: the same for resident and streamed sets and any hosts."""

from collections import deque
from collections.abc import Callable, Iterator
from functools import lru_cache, partial

import numpy as np

from cnnjax.annotations import Sampling
from cnnjax.data._balanced import Balanced
from cnnjax.data._hidden import HalfLabelled, with_few_labels
from cnnjax.data._workers import Ledger, Workers
from cnnjax.data.source import Memory, Split, shuffled

__all__ = ["Stream", "into_memory", "order", "orders", "passes", "patiently", "with_few_labels"]

_permutation = lru_cache(maxsize=4)(shuffled)


def patiently() -> None:
    """What is done while data are waited for: nothing."""


def order(count: int, batch: int, step: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Index (batch,) and epoch (batch,) of the examples of this step's global batch, a function of (seed, step).

    The stream is the endless concatenation of the epochs' permutations of `count` examples, cut every `batch`:
    a batch may straddle epochs, and nothing is dropped or repeated within one.
    """
    epoch, place = np.divmod(step * batch + np.arange(batch, dtype=np.int64), count)
    index = np.empty(batch, np.int32)
    for number in range(int(epoch[0]), int(epoch[-1]) + 1):
        here = epoch == number
        index[here] = _permutation(count, (seed, number))[place[here]]
    return index, epoch.astype(np.int32)


def orders(split: Split, batch: int, *, seed: int = 0, sampling: Sampling = "shuffled") -> Callable:
    """order(step) -> index (batch,) and epoch (batch,) of a split's examples: by `order`, or as `sampling` says."""
    if sampling == "balanced":
        return Balanced(split, batch, seed)
    if sampling == "labelled":
        return HalfLabelled(split, batch, seed)
    return partial(order, len(split), batch, seed=seed)


class Stream:
    """The batches of a training split, by step; use as a context manager or close it.

    `accumulate` = k > 0 lays every batch out in k microbatches, (k, batch/k, ...). `part` = (p, P) gives host p of P
    its slice of the last batch axis, so that the hosts' slices of a microbatch together are that microbatch.
    Where `resident` ("auto": as the split says) is false, examples are decoded by `workers` processes (-1: one per
    core, 16 at most; 0: a thread of this process), `ahead` steps before they are asked for, and come with the
    batches. Files found broken are listed in the file `bad_records`.
    """

    def __init__(
        self,
        split: Split,
        *,
        batch: int,
        seed: int = 0,
        sampling: Sampling = "shuffled",
        accumulate: int = 0,
        part: tuple = (0, 1),
        resident: bool | str = "auto",
        workers: int = -1,
        ahead: int = 3,
        bad_records: str = "",
    ):
        self.split, self.batch, self.ahead = split, batch, max(ahead, 1)
        self.order = orders(split, batch, seed=seed, sampling=sampling)
        self.accumulate, self.part = accumulate, part
        _divide(batch, max(accumulate, 1) * part[1], "train.batch")
        self._ledger = Ledger(split, bad_records)
        self.resident = _resident(split, resident)
        self._workers = () if self.resident else Workers(split, workers)
        self._coming = deque()  # (step, order, futures), consecutive steps

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def indices(self, step: int) -> dict[str, np.ndarray]:
        """This host's index, epoch and valid of one step, each (batch/P,) or (k, batch/k/P)."""
        index, epoch = self.order(step)
        return {"index": self._mine(index), "epoch": self._mine(epoch), "valid": self._mine(np.ones(self.batch, "f4"))}

    def batches(self, step: int, count: int = 1, waiting: Callable[[], None] = patiently) -> dict[str, np.ndarray]:
        """Fields of the batches of steps step … step + count - 1, stacked: (count, batch, ...) of this host's part.

        Always index, epoch and valid; where the stream is not resident the decoded fields too. While they are not there
        yet, `waiting` is called twice a second; it may raise.
        """
        if self.resident:
            return _stacked([self.indices(t) for t in range(step, step + count)])
        while self._coming and self._coming[0][0] != step:
            for future in self._coming.popleft()[2]:
                future.cancel()
        for t in range(step + len(self._coming), step + count + self.ahead):
            batch = self.indices(t)
            self._coming.append((t, batch, self._workers.submit(batch["index"].reshape(-1))))
        return _stacked([self._arrived(*self._coming.popleft(), waiting) for _ in range(count)])

    def close(self) -> None:
        """Stops the worker processes."""
        self._coming.clear()
        if self._workers:
            self._workers.close()

    def _mine(self, values):
        p, hosts = self.part
        values = values.reshape(max(self.accumulate, 1), hosts, -1)[:, p]
        return values if self.accumulate else values[0]

    def _arrived(self, step, batch, futures, waiting):
        shape = batch["index"].shape
        fields = self._ledger.collect(self._workers.results(futures, waiting))
        fields = {name: value.reshape(*shape, *value.shape[1:]) for name, value in fields.items()}
        valid = batch["valid"] * fields.pop("valid", np.float32(1))
        return {**fields, **batch, "valid": valid}


def passes(
    split: Split,
    batch: int,
    part: tuple = (0, 1),
    *,
    resident: bool | str = "auto",
    workers: int = -1,
    ahead: int = 3,
    bad_records: str = "",
    waiting: Callable[[], None] = patiently,
) -> Iterator[dict[str, np.ndarray]]:
    """Iterates over the batches of one pass in which every example is valid exactly once, host p of P's slice of each.

    The last batch is filled up with examples of valid 0. Fields, and `waiting`, are as from `Stream`.
    """
    _divide(batch, part[1], "eval.batch")
    ledger = Ledger(split, bad_records)
    if _resident(split, resident):
        for first in range(0, len(split), batch):
            yield _pass(split, batch, first, part)
        return
    with Workers(split, workers) as pool:
        coming = deque()

        def arrived(fields, back, futures):
            return _passed(ledger, fields, back, pool.results(futures, waiting))

        for first in range(0, len(split), batch):
            fields = _pass(split, batch, first, part)
            rows, back = np.unique(fields["index"], return_inverse=True)
            coming.append((fields, back, pool.submit(rows)))
            if len(coming) > ahead:
                yield arrived(*coming.popleft())
        while coming:
            yield arrived(*coming.popleft())


def into_memory(split: Split, *, workers: int = -1, bad_records: str = "") -> Memory:
    """The split read whole, as one that is resident; examples that are not valid are left out."""
    if isinstance(split, Memory):
        return split
    # fewer, larger parts: each costs a worker a pool of threads, and the records' readers an opening
    batches = passes(split, min(1024, len(split)), resident=False, workers=workers, bad_records=bad_records)
    kept = [{name: rows[batch["valid"] > 0] for name, rows in batch.items()} for batch in batches]
    fields = {name: np.concatenate([batch[name] for batch in kept]) for name in kept[0]}
    loaded = Memory({name: rows for name, rows in fields.items() if name not in ("index", "epoch", "valid")})
    loaded.bad, loaded.budget = getattr(split, "bad", {}), getattr(split, "budget", 0)
    loaded.origin = split
    loaded.left_out = len(split) - len(loaded)
    return loaded


def _pass(split, batch, first, part):
    width = batch // part[1]
    place = first + part[0] * width + np.arange(width)
    index = np.minimum(place, len(split) - 1).astype(np.int32)
    return {"index": index, "epoch": np.zeros(width, np.int32), "valid": (place < len(split)).astype(np.float32)}


def _passed(ledger, fields, back, results):
    read = {name: value[back] for name, value in ledger.collect(results).items()}
    valid = fields["valid"] * read.pop("valid", np.float32(1))
    return {**read, **fields, "valid": valid}


def _stacked(batches):
    if len(batches) == 1:
        return {name: value[None] for name, value in batches[0].items()}
    return {name: np.stack([batch[name] for batch in batches]) for name in batches[0]}


def _resident(split, wanted):
    return split.resident if wanted == "auto" else wanted


def _divide(batch, parts, name):
    if batch < 1 or batch % parts:
        fits = max(parts, batch // parts * parts)
        raise ValueError(f"{name} is {batch}; it must be a multiple of {parts} (microbatches × hosts), such as {fits}")
