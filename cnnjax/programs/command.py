"""The command `cnnjax PROGRAM …`, and what `python -m experiments.PROGRAM …` is."""

import ast
import contextlib
import importlib
import os
import sys
from pathlib import Path
from typing import NoReturn

import cnnjax
from cnnjax.programs import _interrupts
from cnnjax.programs._pipes import printed
from cnnjax.refusals import suggestion

__all__ = ["main", "programs", "run"]

_SHARED = ("command", "process")  # public files of the room that are no programs


def programs() -> dict[str, str]:
    """The programs by name with the first sentence of what each says of itself; none is imported for it."""
    files = sorted(Path(__file__).parent.glob("[!_]*.py"))
    return {file.stem: _sentence(file) for file in files if file.stem not in _SHARED}


def run(name: str) -> NoReturn:
    """Runs a program with the process' arguments, and ends the process with its exit code."""
    _interrupts.heed()
    from cnnjax.programs import process

    program = importlib.import_module(f"cnnjax.programs.{name}")
    process.start(program.main, program.__doc__, program.FLAGS)


def main() -> NoReturn:
    """Runs the program that the first argument names."""
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    known = programs()
    if name in known:
        sys.argv[:2] = [f"cnnjax {name}"]  # what a run records of the command that made it
        _find_modules_here()
        run(name)
    if name in ("--help", "-help", "-h", "help"):
        _said(_usage(known))
    if name in ("--version", "-version", "-V"):
        _said(f"cnnjax {cnnjax.__version__}")
    print(f"cnnjax has no program {name!r}{suggestion(name, known)}", file=sys.stderr)
    sys.exit(2)


def _said(text: str) -> NoReturn:
    with contextlib.suppress(BrokenPipeError):
        print(text)
    sys.exit(printed(0))


def _usage(known: dict[str, str]) -> str:
    rows = [f"  {name:10s} {line}" for name, line in known.items()]
    head = [cnnjax.__doc__.partition("\n")[0], "", "  cnnjax PROGRAM --flag=value …", ""]
    return "\n".join([*head, *rows, "", "cnnjax PROGRAM --help shows the flags of one, cnnjax --version the version."])


def _sentence(file: Path) -> str:
    line = (ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "").partition("\n")[0]
    return line.partition(". ")[0].rstrip(".")


def _find_modules_here() -> None:
    """Lets `my_nets:tiny` be a file of the folder that one is in, as `python -m` does and a console script does not."""
    if not sys.flags.safe_path and not {"", os.getcwd()} & set(sys.path):
        sys.path.insert(0, os.getcwd())
