"""The end of a program whose reader may have gone: `cnnjax train --list | head`."""

import contextlib
import os
import select
import sys

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


def printed(code: int) -> int:
    """The exit code once all is printed: `code`, or 141 in place of 0 where nobody reads any more."""
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.flush()
    if reader_gone():
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more as it ends
        code = code or _SIGPIPE
    sys.stderr.flush()
    return code
