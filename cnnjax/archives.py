"""Files of other people, read within bounds: pipes are not waited for, a small archive stays small in memory."""

import contextlib
import errno
import gzip
import io
import math
import os
import stat
import sys
import zipfile
from collections import Counter
from collections.abc import Iterator
from typing import BinaryIO, TextIO

import numpy as np

__all__ = ["ArchiveError", "array_in", "arrays_in", "opened", "regular", "text_of"]

_LISTED = 2**22  # bytes of the list of members: some 40,000, which take half a second
_FREELY = 2**28  # bytes that any archive may unpack to, in a second of a processor
_TIMES = 100  # how often its size a larger one may unpack to; photographs do 1 to 3 times, deflate can 1,030 times


def regular(path: str | os.PathLike) -> BinaryIO:
    """A file open for reading; ValueError for a pipe or a device, which might be waited for without end."""
    number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    kind = os.fstat(number).st_mode
    if stat.S_ISREG(kind):
        return os.fdopen(number, "rb")
    os.close(number)
    if stat.S_ISDIR(kind):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    raise ValueError("it is no regular file but a pipe or a device")


def text_of(path: str | os.PathLike, *, encoding: str = "utf-8") -> TextIO:
    """The same as a text."""
    return io.TextIOWrapper(regular(path), encoding=encoding)


class ArchiveError(ValueError):
    """An archive that is damaged, or would take more time or memory than its size is worth."""


@contextlib.contextmanager
def opened(path: str | os.PathLike) -> Iterator[zipfile.ZipFile]:
    """The archive in a file, whose members are few enough, have names of their own, and unpack to what is bearable."""
    with _Sipped(path) as file:
        archive = zipfile.ZipFile(file)
        file.most = sys.maxsize
        _vet(archive, os.fstat(file.fileno()).st_size)
        yield archive


def arrays_in(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """The arrays of an .npz file by name; all headers are held against what is there before the first is read."""
    try:
        with opened(path) as archive:
            for member in archive.infolist():
                with archive.open(member) as stream:
                    _vet_array(member.filename, stream, member.file_size)
            found = {}
            for member in archive.infolist():
                with archive.open(member) as stream:
                    found[member.filename.removesuffix(".npy")] = np.lib.format.read_array(stream, allow_pickle=False)
            return found
    except (ArchiveError, MemoryError):
        raise
    except Exception as error:  # zipfile, zlib and NumPy each stumble over broken bytes in ways of their own
        raise ArchiveError(f"it is not a readable .npz file ({error}); write it with numpy.savez") from None


def array_in(path: str | os.PathLike) -> np.ndarray:
    """The array of a .npy file, or of one that gzip has compressed, of no more bytes than an archive may unpack to."""
    try:
        with regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            packed = os.fspath(path).lower().endswith(".gz")
            most = max(_FREELY, _TIMES * size) if packed else size
            data = (gzip.GzipFile(fileobj=file) if packed else file).read(most + 1)
        if len(data) > most:
            raise ArchiveError(f"it unpacks to more than {most / 2**20:,.0f} MiB; if that is meant, write it unpacked")
        _vet_array("it", io.BytesIO(data), len(data))
        return np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    except (ArchiveError, MemoryError):
        raise
    except Exception as error:  # gzip, zlib and NumPy each stumble over broken bytes in ways of their own
        raise ArchiveError(f"it is not a readable .npy file ({error}); write it with numpy.save") from None


class _Sipped(io.FileIO):
    """A file that gives no more than `most` bytes at a time: zipfile reads the list of members at once."""

    most = _LISTED

    def read(self, size: int = -1) -> bytes:
        if size > self.most:
            raise ArchiveError(f"its list of members has {size:,} bytes; at most {self.most:,} are read")
        return super().read(size)


def _vet(archive: zipfile.ZipFile, size: int) -> None:
    members = archive.infolist()
    names = Counter(member.filename.removesuffix(".npy") for member in members)
    if len(names) < len(members):
        raise ArchiveError(f"it has {names.most_common(1)[0][0]!r:.80} twice")
    if any(member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for member in members):
        raise ArchiveError("it is compressed by something else than deflate; write it with numpy.savez")
    if sum(member.compress_size for member in members) > size:
        raise ArchiveError("its members lie over one another")
    total = sum(member.file_size for member in members)
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if total > memory // 2:
        raise ArchiveError(f"it would fill {total / 2**30:.1f} GiB of this machine's {memory / 2**30:.1f} GiB")
    if total > max(_FREELY, _TIMES * size):
        raise ArchiveError(
            f"it would unpack to {total / 2**20:,.0f} MiB, {total / size:,.0f} times its size; "
            f"if that is meant, write it uncompressed (numpy.savez)"
        )


def _vet_array(name: str, stream: io.BufferedIOBase, size: int) -> None:
    """Refuses a member that is pickled, or whose header promises another size than is there."""
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(stream)
    there = size - stream.tell()
    if dtype.hasobject:
        raise ArchiveError(f"{name:.80} holds pickled Python objects, which are never loaded")
    if min(shape, default=1) < 0 or not dtype.itemsize or math.prod(shape) * dtype.itemsize != there:
        raise ArchiveError(f"{name:.80} promises {shape} {dtype} but holds {there} bytes")
