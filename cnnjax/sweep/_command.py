"""Commands that die with the process that started them; as a program, `_command.py PARENT COMMAND …` becomes one."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence

NOTICE = signal.SIGUSR2  # what SLURM sends to a job before it takes its time away


def bound(command: Sequence[str]) -> list[str]:
    """The command, to be started by this process and ended with it: none is left behind that would hold its workdirs.

    Linux alone knows how; the wish is the child's own, spoken before it becomes the command.
    """
    return [sys.executable, "-S", __file__, str(os.getpid()), *command] if sys.platform == "linux" else list(command)


def run_command(
    command: Sequence[str], log: str, folder: str, environment: Mapping[str, str], *, notice: bool = False
) -> int:
    """Runs a command in a folder, its words going to the end of a file; its exit code comes out.

    With `notice`, in a job of SLURM, the word that its time is up becomes the signal at which a run saves.
    """
    with open(log, "ab") as words:
        process = subprocess.Popen(
            bound(command),
            cwd=folder,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=words,
            stderr=words,
        )
        if notice:
            signal.signal(NOTICE, lambda number, frame: process.terminate())
        code = process.wait()
    return code if code >= 0 else 128 - code


def _become(parent: str, *command: str) -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    signal.signal(NOTICE, signal.SIG_IGN)  # SLURM tells every process of a job, and who is not asked would die of it
    if os.getppid() == int(parent):  # else it is dead already
        os.execvp(command[0], command)


if __name__ == "__main__":
    _become(*sys.argv[1:])
