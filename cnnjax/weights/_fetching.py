"""A published file, fetched once: gone on with where it was cut, held against its hash before anyone reads it."""

import errno
import fcntl
import hashlib
import http.client
import re
import shutil
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

__all__ = ["FetchError", "fetched"]

_CHUNK = 1 << 20
_TRIES = 3  # in which a connection that is cut may go on
_PATIENCE = 30.0  # seconds for which a server may say nothing
_MB = 1e6


class FetchError(ValueError):
    """A published file that could not be had."""

    exit_code = 3


def fetched(address: str, path: Path, digest: str = "", note: Callable[[str], None] = print) -> Path:
    """`path`, where the file of an address lies then, whose SHA-256 begins with `digest`.

    Without a digest it must have the one that the server names (the hub's `X-Linked-ETag`). What lies at `path` already
    is held against the digest alone, and nothing is fetched.
    """
    if path.exists():
        _check(path, digest, f"delete it, or put the file of {address} there")
        return path
    part = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("ab") as file:
            _alone(file, path, note)
            if not path.exists():  # which another process may have brought meanwhile
                expected = _filled(address, file, path, digest, note)
                _check(part, expected, f"it was removed; try again, or put the file of {address} at {path}", part)
                part.rename(path)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise FetchError(
                f"no space is left for {path}\nfree some, or let CNNJAX_WEIGHTS name another folder"
            ) from None
        raise FetchError(f"{path} can't be written: {error.strerror}; CNNJAX_WEIGHTS names the folder") from None
    return path


def _alone(file, path, note):
    """Waits until no other process fetches the same file."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        note(f"{path.name} is being fetched by another process; waiting for it")
        fcntl.flock(file, fcntl.LOCK_EX)


def _filled(address, file, path, digest, note):
    """Writes what is missing of a file; the digest that it must have."""
    why, by_hand = "", f"without a network, put that file at {path}"
    for attempt in range(_TRIES):
        if attempt:
            note(f"{path.name}: {why}; going on from {file.tell() / _MB:.0f} MB")
            time.sleep(attempt)
        try:
            expected, whole = _once(address, file, path, digest)
        except urllib.error.HTTPError as error:
            if error.code == 416:  # there is no more of it than what is here
                return digest
            raise FetchError(f"{address} answers {error.code} {error.reason}\n{by_hand}") from None
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
            reason = getattr(error, "reason", error) or error
            if not file.tell():
                raise FetchError(f"{address} can't be reached: {reason}\n{by_hand}") from None
            why = f"the connection was cut ({type(error).__name__})"
            continue
        if file.tell() >= whole:
            return expected
        why = "the connection was cut"
    raise FetchError(
        f"{address}: {why} at {file.tell() / _MB:.1f} MB, {_TRIES} times\nthe same command goes on from there"
    )


def _once(address, file, path, digest):
    """Reads from where the file ends to where the server does: (the digest to expect, the size of all)."""
    have = file.tell()
    request = urllib.request.Request(address, headers={"Range": f"bytes={have}-", "Accept-Encoding": "identity"})
    redirects = _Redirects()
    with urllib.request.build_opener(redirects).open(request, timeout=_PATIENCE) as answer:
        if answer.status != 206 and have:  # a server that knows no ranges begins anew
            file.truncate(0)
            have = 0
        whole = have + int(answer.headers.get("Content-Length") or 0)
        room = shutil.disk_usage(path.parent).free
        if whole - have > room:
            raise OSError(errno.ENOSPC, "there is no room for it")
        expected = digest or _promised(redirects.linked or answer.headers.get("ETag", ""), address)
        with _Progress(path.name, have, whole) as progress:
            while chunk := answer.read(_CHUNK):
                file.write(chunk)
                progress.add(len(chunk))
        file.flush()
    return expected, whole


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Keeps the hash that the hub names where it sends one on to the file itself."""

    linked = ""

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        self.linked = headers.get("X-Linked-ETag", self.linked)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _promised(tag, address):
    """The SHA-256 that a server names for a file."""
    found = re.fullmatch(r'(?:W/)?"?([0-9a-f]{64})"?', tag)
    if not found:
        raise FetchError(f"{address} comes without a SHA-256, so it can't be checked; download it, and give the file")
    return found[1]


def _check(path, digest, cure, drop=None):
    """Refuses a file whose SHA-256 does not begin with the digest."""
    if not digest:
        return
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not found.startswith(digest):
        if drop:
            drop.unlink()
        raise FetchError(f"{path} has the SHA-256 {found[:16]}…, published is {digest[:16]}…\n{cure}")


class _Progress:
    """A line that says how much is there: kept up to date on a terminal, written at the end elsewhere."""

    def __init__(self, name, have, whole):
        self.name, self.have, self.whole, self.begun, self.said = name, have, whole, time.monotonic(), 0.0
        self.live, self.first = sys.stderr.isatty(), have

    def __enter__(self):
        return self

    def add(self, count):
        self.have += count
        if self.live and time.monotonic() - self.said > 0.2:
            self.said = time.monotonic()
            print(f"\r{self._line()}", end="", file=sys.stderr, flush=True)

    def __exit__(self, kind, *_):
        if self.live or kind is None:
            print(f"{chr(13) * self.live}{self._line()}", file=sys.stderr, flush=True)

    def _line(self):
        rate = (self.have - self.first) / _MB / max(time.monotonic() - self.begun, 1e-3)
        of = f" of {self.whole / _MB:.1f}" if self.whole else ""
        return f"{self.name}: {self.have / _MB:.1f}{of} MB, {rate:.1f} MB/s"
