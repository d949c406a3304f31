"""What runs on another machine: a command, which dies with the worker that started it."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence


def run_command(command: Sequence[str], log: str, folder: str, environment: Mapping[str, str]) -> int:
    """Runs a command in a folder, its words going to the end of a file; its exit code comes out."""
    with open(log, "ab") as words:
        process = subprocess.Popen(
            list(command),
            cwd=folder,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=words,
            stderr=words,
            preexec_fn=_dies_with_parent if sys.platform == "linux" else None,
        )
        code = process.wait()
    return code if code >= 0 else 128 - code


def _dies_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
