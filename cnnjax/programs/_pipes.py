"""The end of a program whose reader may have gone: `cnnjax train --list | head`."""

import contextlib
import os
import select
import sys
from typing import TextIO

_SIGPIPE = 141  # the exit code that shells give a process which that signal ended


def reader_gone() -> bool:
    """Whether nobody reads what is printed any more."""
    try:
        number = sys.stdout.fileno()
    except (OSError, ValueError, AttributeError):  # no file: nobody can have gone
        return False
    pipe = select.poll()
    pipe.register(number, 0)
    return any(event & select.POLLERR for _, event in pipe.poll(0))


def complain(text: str) -> None:
    """Prints for whoever still reads."""
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True)


def printed(code: int) -> int:
    """The exit code once all is printed: `code`, or 141 in place of 0 where nobody reads any more."""
    gone = reader_gone()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:  # a pipe without a reader, a terminal that was closed
            _forsake(stream)
    if gone or reader_gone():
        _forsake(sys.stdout)
        code = code or _SIGPIPE
    return code


def _forsake(stream: TextIO) -> None:
    """Python writes once more as it ends; nobody is there to read it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
