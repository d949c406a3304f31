"""The directory of a run: who holds it, how it ended, and files that are never half-written."""

import contextlib
import dataclasses
import datetime
import errno
import fcntl
import json
import os
import re
import secrets
import socket
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jax

from cnnjax.refusals import on_disk
from cnnjax.runs._disk import sync
from cnnjax.runs.json_files import read_json, sealed_json
from cnnjax.runs.processes import by_first

__all__ = [
    "WorkdirError",
    "WorkdirLocked",
    "hold",
    "hold_again",
    "keeps_errors",
    "record_error",
    "write_file",
    "write_json",
    "write_status",
]

_NONE: Mapping[str, Any] = MappingProxyType({})
_UNFINISHED = re.compile(r"\..+\.(jsonl?|npz|png)\.[0-9a-f]{8}")  # as `write_file` names what is not whole yet


class WorkdirError(ValueError):
    """The workdir can't be made or written."""

    exit_code = 2


class WorkdirLocked(ValueError):
    """Another process trains in the workdir."""

    exit_code = 7


@contextlib.contextmanager
def hold(workdir: str | Path) -> Iterator[Path]:
    """The workdir, made if need be and held by this process alone until the block ends or the process dies.

    Of several processes that train together, the first holds it for all.
    """
    workdir = on_disk(workdir, "workdir")
    lock = by_first(lambda: _taken(workdir))
    if jax.process_index() > 0:
        yield workdir
        return
    try:
        yield workdir
    finally:
        owner = _owner(workdir / "lock.json")
        if owner and owner.is_me():  # another run may have taken the place of a workdir that was moved
            with contextlib.suppress(OSError):
                os.unlink(workdir / "lock.json")
        os.close(lock)


def hold_again(workdir: str | Path) -> int:
    """An open file that carries the lock of a workdir which this process has held, and has just made anew."""
    return _locked(Path(workdir) / "lock.json")


def write_file(path: str | Path, content: bytes) -> None:
    """Writes `content`, whole or not at all."""
    path = Path(path)
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with open(beside, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
        sync(path.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(beside)
        raise


def write_json(path: str | Path, content: Mapping[str, Any]) -> None:
    """Writes an object as JSON with its checksum, whole or not at all; NaN and infinities become null."""
    write_file(path, sealed_json(content))


def write_status(workdir: str | Path, status: str, *, step: int = 0, detail: Mapping[str, Any] = _NONE) -> None:
    """Writes `status.json`: how far the run is (`running`, `complete`, `interrupted`, `diverged`, …), and details.

    Of several processes that train together, the first writes. A full disk is a line on stderr: what was trained
    is worth more than the word that it was.
    """
    if jax.process_index() == 0:
        try:
            write_json(Path(workdir) / "status.json", {"status": status, "step": step, "at": _now(), **detail})
        except OSError as error:
            print(
                f"status.json can't be written: {error.strerror}; the status is {status} at step {step}",
                file=sys.stderr,
            )


def keeps_errors(workdir: str | Path) -> bool:
    """Whether a folder is a run's or a sweep's own, or empty, as one is that was made for a run which failed."""
    path = Path(workdir)
    if any((path / name).exists() for name in ("config.json", "sweep.json")):
        return True
    return path.is_dir() and all(inside.name == "error.log" for inside in path.iterdir())


def record_error(workdir: str | Path, error: BaseException) -> Path:
    """Appends the whole story of `error` to `error.log`, and returns where that is."""
    path = Path(workdir) / "error.log"
    with contextlib.suppress(OSError), open(path, "a", encoding="utf-8") as file:
        file.write(f"--- {_now()}  {' '.join(sys.argv)}\n{''.join(traceback.format_exception(error))}\n")
    return path


@dataclasses.dataclass(frozen=True)
class _Owner:
    host: str
    pid: int
    since: float  # seconds since 1970
    began: str = ""  # when the process began, as the kernel counts it: a pid is used again
    space: str = ""  # the kernel's boot and the namespace in which the pid counts

    def is_me(self) -> bool:
        here = _me()
        return (self.host, self.space, self.pid, self.began) == (here.host, here.space, here.pid, here.began)

    def surely_dead(self) -> bool:
        here = _me()
        if (self.host, self.space) != (here.host, here.space) or not self.space:
            return False
        return _began(self.pid) != self.began


def _taken(workdir: Path) -> int:
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        lock = _locked(workdir / "lock.json")
        for folder in (workdir, workdir / "packs", workdir / "pictures"):
            _remove_unfinished(folder)
        return lock
    except OSError as error:
        raise WorkdirError(
            f"workdir {workdir} can't be written: {error.strerror or error}; give another --workdir"
        ) from error


def _remove_unfinished(folder: Path) -> None:
    """Removes what killed processes had begun to write beside a file; for the one that holds the workdir alone."""
    for path in folder.glob(".*"):
        if _UNFINISHED.fullmatch(path.name):
            with contextlib.suppress(OSError):
                path.unlink()


def _locked(path: Path) -> int:
    """An open file that carries the lock, with this process written in it."""
    patience = time.monotonic() + 1.0
    while True:
        if path.is_dir():
            raise WorkdirError(f"{path} is a directory, where the lock of the run is to be; remove it")
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            owner = _owner(path)
            if owner is None and time.monotonic() < patience:  # it is just being written, or just being released
                time.sleep(0.05)
            elif owner is not None and owner.surely_dead():
                _discard(path, owner)
            else:
                raise WorkdirLocked(_in_use(path, owner)) from None
            continue
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
                raise
            print(f"{path.parent} is on a file system without locks: nothing keeps a second run out", file=sys.stderr)
        if _same_file(file, path):
            os.ftruncate(file, 0)
            os.pwrite(file, json.dumps(dataclasses.asdict(_me())).encode(), 0)
            return file
        os.close(file)


def _discard(path: Path, owner: _Owner) -> None:
    """Removes the lock of a dead owner that its orphans (data workers) still hold, one taker at a time."""
    guard = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(guard, fcntl.LOCK_EX)
        if _owner(path) == owner:
            path.unlink()
    finally:
        os.close(guard)


def _owner(path: Path) -> _Owner | None:
    try:
        return _Owner(**read_json(path))
    except (OSError, ValueError, TypeError):
        return None


def _same_file(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except FileNotFoundError:
        return False


def _me() -> _Owner:
    pid = os.getpid()
    return _Owner(socket.gethostname(), pid, time.time(), _began(pid), _space())


def _began(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def _space() -> str:
    try:
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _in_use(path: Path, owner: _Owner | None) -> str:
    if owner is None:
        return f"workdir {path.parent} is in use by a process that {path.name} doesn't name"
    seconds = max(0.0, time.time() - owner.since)
    age = next(f"{seconds / size:.0f} {unit}" for start, size, unit in _AGES if seconds >= start)
    return (
        f"workdir {path.parent} is in use by process {owner.pid} on {owner.host}, for {age} now\n"
        "wait for it, stop it, or give another --workdir"
    )


_AGES = ((172800, 86400, "days"), (7200, 3600, "h"), (120, 60, "min"), (0, 1, "s"))  # from when, seconds in one, unit


def _now() -> str:
    return datetime.datetime.now().astimezone().isoformat(timespec="seconds")
