"""What a training does by the clock: saves in between, and an end before its time is up."""

import time
from collections.abc import Mapping

__all__ = ["Clock"]


class Clock:
    """The clock of one training, by `checkpoint.minutes` and `train.minutes` of its config (0: none).

    Time is up when what is left holds no more than the longest way from one look to the next, and a save. The first
    dispatch is taken whatever the limit, so that calls that follow one another get somewhere.
    """

    def __init__(self, config: Mapping):
        self.minutes: float = config["train"]["minutes"]
        self.saves = config["checkpoint"]["minutes"] > 0
        self._limit, self._every = 60 * self.minutes, 60 * config["checkpoint"]["minutes"]
        self.start(time.monotonic())

    def start(self, began: float) -> None:
        """Begins anew, with a training that began at this time of `time.monotonic`."""
        self._began, self._saved = began, time.monotonic()
        self._looks, self._last, self._longest = 0, 0.0, 0.0

    def saved(self) -> None:
        """Notes that a save has just begun."""
        self._saved = time.monotonic()

    def save_is_due(self) -> bool:
        """Whether the last save is so long ago that another is due."""
        return self.saves and time.monotonic() - self._saved >= self._every

    def is_up(self, saving: float) -> bool:
        """Whether it is time to save and end, where that may take so many seconds; to be asked between dispatches."""
        now = time.monotonic()
        if self._looks > 1:  # the first dispatch compiles
            self._longest = max(self._longest, now - self._last)
        self._looks, self._last = self._looks + 1, now
        return bool(self._limit) and self._looks > 1 and now - self._began + self._longest + saving >= self._limit
