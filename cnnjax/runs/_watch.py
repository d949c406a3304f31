"""Processes that train together hear of each other, and none waits for one that is gone.

Each says at short intervals that it lives, in the coordination service's store, which works before anything compiles
and while a program waits for the others. Process 0 listens to all, the others to it: of that one they also see that its
line has closed. Who is lost is named by all that are left, which then end.
"""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

__all__ = ["LOST", "Watch", "watching"]

LOST = 75
"""Exit code of a process that lost another: the same command goes on from the last checkpoint."""

_BEATS, _FIRST, _VERDICT = "cnnjax/beats/", "cnnjax/first/beat", "cnnjax/first/verdict"
_GRACE = 2.0  # seconds that a process has to end by itself, in its own words, where another has ended
_WORDS = 2000  # characters of what another says at its end


class Watch(threading.Thread):
    """The thread that listens to the other processes; one that is not heard of for `patience` seconds is lost.

    Then `on_lost` is called with the words, they are printed, and this process ends at once: its main thread waits for
    the lost one, in a program that nothing can stop.
    """

    def __init__(self, client: Any, process: int, count: int, patience: float, hung_up: Callable[[], bool]):
        super().__init__(name="watch", daemon=True)
        self.on_lost: Callable[[str], None] = lambda words: None
        self.patience = patience
        self._client, self._process, self._count, self._hung_up = client, process, count, hung_up
        self._me = f"process {process} on {socket.gethostname()} (pid {os.getpid()})"
        self._every = min(1.0, patience / 10)
        self._began = time.monotonic()
        self._heard: dict[str, tuple[float, str]] = {}  # when what a key holds was new, and what it holds
        self._ending = self._over = False
        self._talking = threading.Thread(target=self._talk, name="heartbeat", daemon=True)

    def run(self) -> None:
        """Listens until a process is lost, or `end` is called."""
        self._talking.start()
        before = time.monotonic()
        while not self._over:
            time.sleep(self._every)
            now = time.monotonic()
            if now - before > self.patience / 2:  # this process stood still: the others are to be heard again first
                self._heard = {key: (now, words) for key, (_, words) in self._heard.items()}
                self._began = now
            before = now
            code, words = self._verdict(now)
            if words and not self._ending:
                time.sleep(_GRACE)
                if not self._ending:
                    self._leave(code, words)

    def settled(self) -> None:
        """Lets this process end by itself from now on, in its own words."""
        self._ending = True

    def end(self, code: int, words: str = "") -> None:
        """Says that this process ends, and how; the first goes last, for it holds what the others read."""
        self._ending = True
        with contextlib.suppress(Exception):
            self._say(f"end {code} {self._me}: {words[:_WORDS]}")
        until = time.monotonic() + min(self.patience, 5.0)
        while code and not self._process and time.monotonic() < until and not self._all_end():
            time.sleep(self._every / 4)
        self._over = True
        if self._talking.is_alive():
            self._talking.join(self._every * 2)

    def _talk(self) -> None:
        count = 0
        while not self._over:
            with contextlib.suppress(Exception):  # a coordinator that does not answer is heard less and less
                if not self._ending:
                    self._say(f"beat {count} {self._me}")
                self._listen()
            count += 1
            time.sleep(self._every)

    def _say(self, words: str) -> None:
        key = f"{_BEATS}{self._process}" if self._process else _FIRST
        self._client.key_value_set(key, words, allow_overwrite=True)

    def _listen(self) -> None:
        now = time.monotonic()
        for key, words in self._client.key_value_dir_get("cnnjax/first/" if self._process else _BEATS):
            if self._heard.get(key, (0.0, ""))[1] != words:
                self._heard[key] = now, words

    def _all_end(self) -> bool:
        with contextlib.suppress(Exception):
            self._listen()
        return sum(words.startswith("end ") for _, words in self._heard.values()) >= self._count - 1

    def _verdict(self, now: float) -> tuple[int, str]:
        """(exit code, words) of a process that is lost or has failed; words are "" where all is well."""
        if _VERDICT in self._heard:
            code, _, words = self._heard[_VERDICT][1].partition(" ")
            return int(code), words
        others = {0: _FIRST} if self._process else {k: f"{_BEATS}{k}" for k in range(1, self._count)}
        for number, key in others.items():
            since, said = self._heard.get(key, (self._began, ""))
            kind, _, rest = said.partition(" ")
            first, _, rest = rest.partition(" ")
            if kind == "end":
                if first != "0":
                    return int(first), f"{rest.partition(': ')[0]} has ended: {rest.partition(': ')[2]}"
            elif self._process and self._hung_up():
                return LOST, f"{rest or 'process 0'} is gone: its line has closed"
            elif now - since > self.patience:
                return LOST, f"{rest or f'process {number}'} has not been heard of for {now - since:.0f} s"
        return 0, ""

    def _leave(self, code: int, words: str) -> None:
        if not self._process:
            with contextlib.suppress(Exception):
                self._client.key_value_set(_VERDICT, f"{code} {words}", allow_overwrite=True)
        with contextlib.suppress(Exception):
            self.on_lost(words)
        more = "the same commands go on from the last checkpoint" if code == LOST else "it says more"
        with contextlib.suppress(OSError):  # straight to the terminal: the main thread may hold the lock of sys.stderr
            os.write(2, f"\n{words}\nstopped with it; {more}\n".encode())
        if not self._process:
            time.sleep(3 * self._every + _GRACE)  # the others read the verdict here
        os._exit(code)


def watching() -> Watch | None:
    """The watch of this process, where it trains with others."""
    return next((thread for thread in threading.enumerate() if isinstance(thread, Watch)), None)
