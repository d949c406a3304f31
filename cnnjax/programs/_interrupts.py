"""Signals that come before a program can save anything, while it imports, or has nothing to save at all."""

import contextlib
import os
import signal
from types import FrameType

PREEMPTED = 75  # as in runs/signals.py, which imports jax
_SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)  # Ctrl-C is Python's KeyboardInterrupt


def heed() -> None:
    """Lets these signals end the process with 75 and a line; a run that can save takes them over."""
    for number in _SIGNALS:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _end)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    os.register_at_fork(after_in_child=_forget)


def hold_back() -> None:
    """Keeps these signals until the program that this process becomes heeds them."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)


def _end(number: int, frame: FrameType | None) -> None:
    words = f"\n{signal.Signals(number).name}: stopped; what was saved before stands, the same command goes on\n"
    with contextlib.suppress(OSError):
        os.write(2, words.encode())
    os._exit(PREEMPTED)


def _forget() -> None:
    for number in _SIGNALS:
        if signal.getsignal(number) is _end:
            signal.signal(number, signal.SIG_DFL)
