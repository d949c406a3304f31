"""What is said of a flag that a program does not have: where else it belongs, or what is meant by it."""

import difflib
import re
import sys
from collections.abc import Iterable
from pathlib import Path

from absl import flags

from cnnjax import config as sections

_FLAG = re.compile(r"^ +--(\w+)\b(?!\.)|  --(\w+)=", re.MULTILINE)  # a flag where a page of help explains it


def hint(values: flags.FlagValues, name: str, value: str) -> str:
    """The end of the message that `--name=value` is not a flag of the program whose flags these are."""
    if "." in name.strip("."):
        return f"; write --config.{name}=…"
    program, pages = _program_of(values), _pages()
    elsewhere = [other for other, page in pages.items() if other != program and name in page]
    takes_config = "config" in pages.get(program, ())
    if (path := sections.meant(name)) and takes_config:
        return f"; write --config.{path}={value or '…'}"
    if elsewhere:
        return f" of {program}, but of {', '.join(elsewhere)}{_instead(name, program, takes_config)}"
    close = [f"--{other}" for other in difflib.get_close_matches(name, [*values, *["config"] * takes_config])]
    return f"; nearest: {', '.join(close)}" if close else "; --help shows the flags"


def _instead(name: str, program: str, takes_config: bool) -> str:
    if name == "workdir" and takes_config:
        return "; the config of a run is --config=DIR/config.json"
    if name == "config":
        return f"; {program} goes by what a run has recorded, and asks for its --workdir"
    return ""


def _program_of(values: flags.FlagValues) -> str:
    """The name of the program whose flags these are."""
    found = (name for name, module in sys.modules.items() if getattr(module, "FLAGS", None) is values)
    return next(found, "").rpartition(".")[2]


def _pages() -> dict[str, Iterable[str]]:
    """The flags that each program's page of help explains."""
    files = sorted(Path(__file__).parent.glob("[!_]*.py"))
    pages = {file.stem: file.read_text(encoding="utf-8").split('"""')[1] for file in files}
    found = {stem: {a or b for a, b in _FLAG.findall(page)} for stem, page in pages.items()}
    return {stem: words for stem, words in found.items() if words}
