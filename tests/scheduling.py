"""Which tests run in one worker: those that share a fixture of their module.

xdist's own `loadgroup` needs a mark at each of them, and with pytest 9.2 heeds none.
"""

import functools
import re
from pathlib import Path

from xdist.scheduler import LoadScopeScheduling

ROOT = Path(__file__).parents[1]


@functools.cache
def kind_of(file: str) -> str:
    """What the fixtures of a file are made for: all tests ("shared"), each of their parameters ("each"); "" if none."""
    found = re.findall(r'fixture\(scope="module"(, params=)?', (ROOT / file).read_text())
    return "" if not found else "shared" if "" in found else "each"


def scope_of(nodeid: str) -> str:
    """The name of what a test runs together with: its file, its file and parameter, or itself alone."""
    file, _, test = nodeid.partition("::")
    kind = kind_of(file)
    if kind == "each":
        return f"{file}[{test.partition('[')[2]}"
    return file if kind else nodeid


class Sharing(LoadScopeScheduling):
    """A worker that is free takes the next scope, the largest first."""

    def _split_scope(self, nodeid):
        return scope_of(nodeid)
