"""The file `metrics.jsonl` as its run writes it: the truth, which no kill, damage or foreign hand takes away unsaid."""

import contextlib
import os
import shutil
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from cnnjax.runs._sealed import LOST, Entry, Log, line_of, read_log, sealed
from cnnjax.runs.workdir import WorkdirLocked, hold_again, write_file

_NONE: Mapping[str, int] = MappingProxyType({})


class Lines:
    """`metrics.jsonl`: whole, sealed lines only. What could not be written waits in memory for the next line.

    A file that is deleted or moved under the run is written anew from what the open one still holds. What is wrong
    with it is told to `say`.
    """

    name = "metrics.jsonl"

    def __init__(self, path: Path, say: Callable[[str], None]):
        self._path, self._say = path, say
        self._file = self._folder = self._lock = -1  # the lock is of a workdir that was made anew
        self._half = False  # whether a write has stopped in its middle
        self._waiting = b""
        self._good = self._crc = self._count = 0  # bytes of whole lines, their checksum, the last one's number
        self._old = False  # whether an earlier release wrote it, without seals
        self._open()
        if self._file >= 0:
            text = self._content()
            if line_of(text.rpartition(b"\n")[2]):  # its end alone is missing
                os.pwrite(self._file, b"\n", len(text))
                text += b"\n"
            log = read_log(text)
            self._adopt(text[: text.rfind(b"\n") + 1], max((entry.number for entry in log.entries), default=0))
            self._old = self._good > 0 and b', "crc32": "' not in text

    def write(self, line: Mapping[str, Any]) -> None:
        """Puts a line behind the others."""
        try:
            self._hold(create=True)
        finally:
            self._count += 1
            self._waiting += sealed(line, self._count)
        self._half, rest = True, self._waiting
        while rest:
            rest = rest[os.pwrite(self._file, rest, self._good + len(self._waiting) - len(rest)) :]
        self._crc = zlib.crc32(self._waiting, self._crc)
        self._good += len(self._waiting)
        self._half, self._waiting = False, b""

    def read(self) -> list[dict[str, Any]]:
        """Every whole line, those that wait included; what a kill or a fault left torn is left out."""
        return [dict(entry.line) for entry in read_log(self._bytes()).entries]

    def mark(self) -> dict[str, int]:
        """How many lines were written, in how many bytes with which checksum, those that wait included."""
        self._hold()
        size, crc = self._good + len(self._waiting), zlib.crc32(self._waiting, self._crc)
        return {"lines": self._count, "bytes": size, "crc32": crc}

    def cut(self, step: int, mark: Mapping[str, int] = _NONE, *, known: int = 0) -> dict[str, Any]:
        """Drops the lines after `step`; what is lost for good of those before comes out, as an event tells it.

        `mark` is what the checkpoint of that step knows of the file: what was written behind it comes again. `known` is
        how many lines there were at that step, where another file says so.
        """
        self._hold()
        text, firm = self._bytes(), mark.get("lines", 0)
        log = read_log(text, least=max(known, firm, self._count))
        again = bool(mark) or not step
        kept = _kept(log, step, firm, again)
        lost = {words: (first, last) for first, last, words in log.lost if not (again and first > firm)}
        said = [words if words in lost else f"{words}; what stood there comes again" for *_, words in log.lost]
        said += [*log.oddities, *_astray(log, kept)]
        told = any(entry.line.get("name") == LOST for entry in kept)
        others = zlib.crc32(text[: mark.get("bytes", 0)]) != mark.get("crc32", 0)
        if others and not (told or lost or log.oddities):
            lost = {f"its first {firm} lines are not those that the checkpoint at step {step} knows": (1, firm)}
            said += lost
        new = b"".join(entry.raw for entry in kept)
        if text.startswith(new):
            self._shorten(text, len(new))
        else:
            said.append(f"as it was it is kept as {self._aside(copy=True).name}")
            self._replace(new)
        self._count = max([firm, *(entry.number for entry in kept[-1:])])
        if said:
            self._say(f"{self._path}: {'; '.join(said)}")
        return {"lost": [*lost], "lines": [*lost.values()]} if lost else {}

    def close(self) -> None:
        """Lets go of the file; the next line opens it again."""
        self._let_go()
        if self._lock >= 0:
            os.close(self._lock)
        self._lock = -1

    def _let_go(self) -> None:
        for file in (self._file, self._folder):
            if file >= 0:
                os.close(file)
        self._file = self._folder = -1

    # What stands on the disk.

    def _open(self, *, create: bool = False) -> None:
        if self._path.exists() and not self._path.is_file():
            what = "a directory" if self._path.is_dir() else "no file but a pipe or a device"
            self._say(f"{self._path} is {what}; it is set aside as {self._aside().name}")
        try:
            self._file = os.open(self._path, os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0), 0o644)
        except FileNotFoundError:
            if create:
                raise
            return
        self._folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def _hold(self, *, create: bool = False) -> None:
        """Sees to it that the file is open, in its place, and ends where this run's lines end."""
        if self._file < 0:
            self._open(create=create or self._good > 0)
        elif not _same(self._file, self._path):
            self._restore()
        if self._file < 0:
            return
        size = os.fstat(self._file).st_size
        if size < self._good:
            self._accept_loss()
        elif size > self._good:
            if not self._half:
                bytes_more = f"{size - self._good} bytes at its end"
                self._say(f"{self._path}: {bytes_more} are no line of this run; they are cut off")
            os.ftruncate(self._file, self._good)
        if self._old:
            self._seal()

    def _restore(self) -> None:
        """Writes the file anew, of which the open one still holds all; so too a workdir that is not there any more."""
        held, folder, what = self._content()[: self._good], self._path.parent, str(self._path)
        more = f"it is written anew, with its {self._count} lines"
        if not _same(self._folder, folder):
            if (folder / "lock.json").exists():
                raise WorkdirLocked(f"workdir {folder} was moved under this run, and another run trains there now")
            what = f"workdir {folder}"
            more = "it is made anew with all lines; older checkpoints stay with what was there"
            self._bring(folder)
        elif os.path.lexists(self._path):
            more += f"; what stood there is kept as {self._aside().name}"
        write_file(self._path, held)
        where = _place(self._file)
        self._let_go()
        self._open()
        self._say(f"{what} was {where} under the run; {more}")

    def _bring(self, folder: Path) -> None:
        """Makes the workdir again, held by this run, with the small files that say which run it is."""
        folder.mkdir(parents=True, exist_ok=True)
        if self._lock >= 0:
            os.close(self._lock)
        self._lock = hold_again(folder)
        for name in os.listdir(self._folder):
            if name.endswith((".json", ".jsonl")) and name != self._path.name and not (folder / name).exists():
                with open(os.open(name, os.O_RDONLY, dir_fd=self._folder), "rb") as file:
                    write_file(folder / name, file.read())

    def _accept_loss(self) -> None:
        """Goes on behind what a foreign hand has left of the file, with numbers that tell what is missing."""
        text = self._content()
        log = read_log(text, least=self._count - self._waiting.count(b"\n"))
        self._say(f"{self._path} was cut short under the run: {'; '.join(log.faults)}")
        self._adopt(text[: text.rfind(b"\n") + 1], self._count)
        os.ftruncate(self._file, self._good)

    def _seal(self) -> None:
        """Gives the lines of an earlier release numbers and checksums."""
        log = read_log(self._content())
        if log.faults:
            self._say(f"{self._path}: {'; '.join(log.faults)}; as it was it is kept as {self._aside(copy=True).name}")
        self._replace(b"".join(sealed(entry.line, number) for number, entry in enumerate(log.entries, 1)))
        self._old, self._count = False, len(log.entries)

    def _replace(self, text: bytes) -> None:
        """Has another text in the place of the file."""
        write_file(self._path, text)
        self._let_go()
        self._open()
        self._waiting = b""
        self._adopt(text, self._count)

    def _shorten(self, text: bytes, end: int) -> None:
        """Drops what stands behind `end`; in place, so it works on a full disk."""
        self._waiting = text[self._good : end]
        if end < self._good:
            os.ftruncate(self._file, end)
            self._adopt(text[:end], self._count)

    def _adopt(self, text: bytes, count: int) -> None:
        self._good, self._crc, self._count = len(text), zlib.crc32(text), count

    def _aside(self, *, copy: bool = False) -> Path:
        """Gives what stands in the file's place another name, or keeps a copy of it under one."""
        name, number = self._path.with_name(f"{self._path.name}.damaged"), 1
        while os.path.lexists(name):
            number += 1
            name = self._path.with_name(f"{self._path.name}.damaged-{number}")
        (shutil.copyfile if copy else os.rename)(self._path, name)
        return name

    def _content(self) -> bytes:
        return os.pread(self._file, os.fstat(self._file).st_size, 0)

    def _bytes(self) -> bytes:
        """The whole lines on the disk, and those that wait."""
        text = b""
        if self._file >= 0:
            text = self._content()
        else:
            with contextlib.suppress(OSError):
                text = self._path.read_bytes()
        return text[: self._good] + self._waiting


class NoLines:
    """What a process holds that writes nothing, because another of its run does."""

    name = Lines.name

    def write(self, line: Mapping[str, Any]) -> None:
        """Leaves it to the other."""

    def read(self) -> list[dict[str, Any]]:
        """None are known here."""
        return []

    def close(self) -> None:
        """Holds nothing open."""


def _kept(log: Log, step: int, firm: int, again: bool) -> list[Entry]:
    """The lines up to the `firm`st and those behind it of `step` or before; none behind a gap, where all come again."""
    kept: list[Entry] = []
    for entry in log.entries:
        if entry.number > firm:
            last = max([firm, *(before.number for before in kept[-1:])])
            if again and (entry.line["step"] > step or entry.number != last + 1):
                break
            if entry.line["step"] > step:
                continue
        kept.append(entry)
    return kept


def _astray(log: Log, kept: list[Entry]) -> list[str]:
    """What is said of lines that are left out though lines behind them are kept."""
    left = [e for e in log.entries if kept and e.number < kept[-1].number and e not in kept]
    return [f"line {entry.number} says step {entry.line['step']}, and is left out" for entry in left]


def _same(file: int, path: Path) -> bool:
    """Whether an open file or folder is what stands at a path."""
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except OSError:
        return False


def _place(file: int) -> str:
    """What has become of an open file whose place is empty: `deleted`, or `moved to …`, where the system tells."""
    try:
        place = os.readlink(f"/proc/self/fd/{file}")
    except OSError:
        return "moved or deleted"
    return "deleted" if place.endswith(" (deleted)") else f"moved to {place}"
