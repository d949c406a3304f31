"""The command `cnnjax PROGRAM …`, and what `python -m experiments.PROGRAM …` is."""

import importlib
import sys
from typing import NoReturn

from cnnjax.refusals import suggestion

__all__ = ["PROGRAMS", "main", "run"]

PROGRAMS = ("train", "evaluate", "predict", "export", "sweep", "show", "results")


def run(name: str) -> NoReturn:
    """Runs a program with the process' arguments, and ends the process with its exit code."""
    from cnnjax.programs import process

    program = importlib.import_module(f"cnnjax.programs.{name}")
    process.start(program.main, program.__doc__, program.FLAGS)


def main() -> NoReturn:
    """Runs the program that the first argument names."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name in PROGRAMS:
        del sys.argv[1]
        run(name)
    if name in ("", "--help", "-h", "help"):
        print(f"cnnjax PROGRAM --flag=value …; programs: {', '.join(PROGRAMS)}; cnnjax PROGRAM --help says more")
        sys.exit(0)
    print(f"cnnjax has no program {name!r}{suggestion(name, PROGRAMS)}", file=sys.stderr)
    sys.exit(2)
