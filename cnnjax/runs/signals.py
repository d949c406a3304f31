"""Stopping when asked: the first SIGTERM, Ctrl-C or the like ends the run at the next step, the second at once.

The like are SIGHUP (a terminal that is closed), SIGUSR1 and SIGUSR2 (what schedulers send before time is up).
"""

import contextlib
import os
import signal
import socket
import threading
import time
import weakref

import jax
import numpy as np
from jax.experimental import multihost_utils

__all__ = ["PREEMPTED", "Stop"]

PREEMPTED = 75
"""Exit code of a run that was asked to stop: it is saved, and the same command resumes it."""

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
_ASKED = (signal.SIGTERM, signal.SIGINT)  # heeded even where whoever started the process ignores them
_ECHO = 0.2  # seconds within which a second signal is the echo of the first: `timeout` and job managers send two


class Stop:
    """A context manager in which signals set `wanted`; a second one ends the process with exit code 75 at once.

    The signals are also read by a thread, from the socket the kernel's handler writes to, so that the second one
    works while the main thread compiles or waits. Outside the main thread, where Python delivers no signals, it does
    nothing.
    """

    def __init__(self):
        self.wanted = False
        self.name = ""
        self.began = time.monotonic()
        self._first = 0.0
        self._before: dict[int, object] = {}

    def __enter__(self):
        if threading.current_thread() is not threading.main_thread():
            return self
        self._read, self._write = socket.socketpair()
        self._write.setblocking(False)
        self._wakeup = signal.set_wakeup_fd(self._write.fileno(), warn_on_full_buffer=False)
        heeded = [n for n in _SIGNALS if n in _ASKED or signal.getsignal(n) is not signal.SIG_IGN]  # as nohup does
        self._before = {number: signal.signal(number, lambda number, frame: self._note(number)) for number in heeded}
        me = weakref.ref(self)  # a hook can't be taken back, so it must not keep this alive
        os.register_at_fork(after_in_child=lambda: me() and me()._forget())
        self._thread = threading.Thread(target=self._watch, name="signals", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind, error, trace):
        if not self._before:
            return
        self._restore(self._wakeup)
        self._write.close()  # the thread reads the end of the stream
        self._thread.join()
        self._read.close()

    def anywhere(self) -> bool:
        """Whether any of the processes that train together is asked to stop; to be called by all at the same step."""
        if jax.process_count() > 1:
            return bool(np.any(multihost_utils.process_allgather(np.asarray(self.wanted))))
        return self.wanted

    def _restore(self, wakeup: int) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        self._before = {}
        signal.set_wakeup_fd(wakeup)

    def _forget(self) -> None:
        """In a forked child, whose signals would be read as its parent's from the socket they share."""
        if self._before:
            self._restore(-1)

    def _note(self, number: int) -> None:
        """Runs in the main thread, between two of its instructions."""
        self.name, self.wanted = signal.Signals(number).name, True

    def _watch(self) -> None:
        while received := self._read.recv(64):
            for number in received:
                if number in self._before:
                    self._count(number)

    def _count(self, number: int) -> None:
        now = time.monotonic()
        if not self._first:
            self._first = now
            self._note(number)
            _say(f"{self.name}: stopping after this step, with a checkpoint; once more to stop at once")
        elif now - self._first > _ECHO:
            _say(f"{signal.Signals(number).name} again: stopped at once; the last checkpoint stands")
            os._exit(PREEMPTED)


def _say(text: str) -> None:
    """Straight to the terminal: the main thread may hold the lock of sys.stderr."""
    with contextlib.suppress(OSError):
        os.write(2, f"\n{text}\n".encode())
