"""Runs parts in processes of their own, each within its limit; what is known is kept as it comes.

A part that fails says why and the next goes on; one that is over its limit, or takes its process down with it (out of
memory, a crash of a library), ends that process, and the parts behind it get another.
"""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

__all__ = ["Part", "supervised"]

_POLL = 0.1
_START = 60.0  # seconds that a process may take until its first part begins


@dataclasses.dataclass(frozen=True)
class Part:
    """What is measured: its title, the function that does so, the seconds that it may take, and with whom it shares."""

    title: str
    function: str
    limit: float
    process: str
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)


def supervised(
    parts: Mapping[str, Part],
    command: Callable[[Sequence[str], str, float], Sequence[str]],
    budget: float,
    keep: Callable[[dict], None],
) -> dict:
    """{"parts": what was found of each, …}; `keep` is given all of it after every line that came.

    `command(names, file, seconds)` is what measures those parts in one process, and writes lines to a file. Nothing
    runs longer than `budget` seconds from now on.
    """
    found = {"budget": budget, "parts": {name: {"title": part.title, "figures": []} for name, part in parts.items()}}
    end, queue = time.monotonic() + budget, list(parts)
    with tempfile.TemporaryDirectory() as folder:
        while queue:
            group = [name for name in queue if parts[name].process == parts[queue[0]].process]
            if time.monotonic() >= end:
                for name in queue:
                    found["parts"][name]["why"] = "not begun: the budget was spent"
                keep(found)
                break
            child = _Child(found, {name: parts[name] for name in group}, Path(folder), end, keep)
            done = child.run(command)
            queue = [name for name in queue if name not in done]
    return found


class _Child:
    """A process that measures some parts, and what its lines have said so far."""

    def __init__(self, found: dict, parts: Mapping[str, Part], folder: Path, end: float, keep: Callable):
        self.found, self.parts, self.end, self.keep = found, parts, end, keep
        self.lines = Path(tempfile.mkdtemp(dir=folder), "lines")
        self.lines.touch()
        self.position, self.current, self.done = 0, "", []
        self.began = time.monotonic()

    def run(self, command: Callable) -> list[str]:
        """The parts that need not be tried again: done, failed or stopped."""
        words = self.lines.with_name("words")
        environment = {**os.environ, **next(iter(self.parts.values())).environment}
        with words.open("wb") as log:
            process = subprocess.Popen(
                command(list(self.parts), str(self.lines), self.end - time.monotonic()),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True,
            )  # fmt: skip
            try:
                stopped = self._watched(process)
            finally:
                if process.poll() is None or self.current:
                    _end(process)
        self._read()
        if self.current or not self.done:
            name = self.current or next(iter(self.parts))
            last = (words.read_text(errors="replace").strip().splitlines() or ["it said nothing"])[-1]
            self._finish(name, stopped or f"its process ended with {process.returncode}: {last[:200]}")
        return self.done

    def _watched(self, process: subprocess.Popen) -> str:
        """Reads along until the process ends or is over its time; why it is to be stopped, or ""."""
        while process.poll() is None:
            self._read()
            now = time.monotonic()
            limit = self.parts[self.current].limit if self.current else _START
            if now >= self.end:
                return "stopped: the budget was spent"
            if now - self.began > limit:
                return f"stopped at its limit of {limit:.0f} s"
            time.sleep(_POLL)
        return ""

    def _read(self) -> None:
        """Takes up the whole lines that have come."""
        with self.lines.open() as file:
            file.seek(self.position)
            lines = file.readlines()
        fresh = [line for line in lines if line.endswith("\n")]
        self.position += sum(len(line.encode()) for line in fresh)
        for words in map(json.loads, fresh):
            if "begun" in words:
                self.current, self.began = words["begun"], time.monotonic()
            elif "figure" in words:
                self.found["parts"][self.current]["figures"].append(words["figure"])
            elif "ended" in words:
                self._finish(words["ended"], words["why"])
            else:
                self.found |= words
        if fresh:
            self.keep(self.found)

    def _finish(self, name: str, why: str) -> None:
        part = self.found["parts"][name]
        part["seconds"] = round(time.monotonic() - self.began, 1)
        if why:
            part["why"] = why
        self.done.append(name)
        self.current, self.began = "", time.monotonic()
        self.keep(self.found)


def _end(process: subprocess.Popen) -> None:
    """Ends a process and those that it started."""
    if sys.platform == "win32":
        process.kill()
    else:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
    process.wait()
