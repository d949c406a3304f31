"""Files of named tensors: safetensors, NumPy's .npz and PyTorch's .pth, read without running anything."""

import errno
import io
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import ml_dtypes
import numpy as np

from cnnjax.archives import ArchiveError, arrays_in, opened
from cnnjax.refusals import on_disk
from cnnjax.weights._pickles import RefusedError
from cnnjax.weights._torch_files import read_archive, read_legacy

__all__ = ["RefusedError", "notes", "read", "write"]

_SAFE = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": ml_dtypes.bfloat16,
    "I64": np.int64,
    "I32": np.int32,
    "I16": np.int16,
    "I8": np.int8,
    "U64": np.uint64,
    "U32": np.uint32,
    "U16": np.uint16,
    "U8": np.uint8,
    "BOOL": np.bool_,
}
_LONGEST_HEADER = 2**23  # bytes, in a second of a processor at worst; a tensor takes a hundred
_LONGEST_NAME = 1000  # letters, all of them printable: names are shown where they do not fit
_RANK = 64  # dimensions that NumPy knows
_WRAPPERS = ("module.", "_orig_mod.")


def read(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """The tensors of a file by name; what kind of file it is, its first bytes say.

    Of a training checkpoint the state dict is taken, of an .npz what is no text; prefixes that wrappers leave
    (`module.`) fall away. Anything but tensors and dicts of them is refused. The arrays may be views that can't be
    written to.
    """
    path = on_disk(path, "weights")
    if path.is_fifo():  # which would be waited for
        raise RefusedError(f"{path} is a pipe; give a file")
    with path.open("rb") as file:
        start = file.read(9)
    try:
        tensors = _read(path, start)
    except (RefusedError, ArchiveError) as error:
        story = str(error) if str(path) in str(error) else f"{path}: {error}"
        raise RefusedError(_in_a_line(story)) from None
    except Exception as error:  # zipfile, zlib, struct and NumPy each stumble over broken bytes in ways of their own
        raise RefusedError(_in_a_line(f"{path} is damaged or was cut short: {error}")) from None
    for name in tensors:
        if len(name) > _LONGEST_NAME or not name.isprintable():
            raise RefusedError(_in_a_line(f"{path} has a tensor with a name of {len(name):,} letters: {name}"))
    for prefix in _WRAPPERS:
        if tensors and all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
    return tensors


def _in_a_line(story: str) -> str:
    """What is said of a file, whose names may be of any length and hold anything."""
    cut = story if len(story) <= 600 else f"{story[:599]}…"
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in cut)


def _read(path: Path, start: bytes) -> dict[str, np.ndarray]:
    if start[:4] == b"PK\x03\x04":
        return _from_zip(path)
    if start[:1] == b"\x80" and start[8:] != b"{":  # a safetensors header may happen to be as long
        return read_legacy(path)
    return _from_safetensors(path)


def notes(path: str | os.PathLike) -> dict[str, str]:
    """What a safetensors file says of itself, text by name; {} for files of other kinds, and for broken ones."""
    path = Path(path)
    try:
        with path.open("rb") if path.is_file() else io.BytesIO() as file:
            if file.read(9)[8:] != b"{":
                return {}
            file.seek(0)
            header, _ = _header(path, file)
    except (OSError, RefusedError, RecursionError):
        return {}
    told = header.get("__metadata__", {})
    return {name: text for name, text in told.items() if isinstance(text, str)} if isinstance(told, dict) else {}


def write(path: str | os.PathLike, tensors: Mapping[str, np.ndarray], *, metadata: Mapping[str, str] = {}) -> None:
    """Writes a safetensors file: the tensors by name, and notes that are text."""
    names = {np.dtype(dtype): name for name, dtype in _SAFE.items()}
    if "__metadata__" in tensors or not all(isinstance(note, str) for note in metadata.values()):
        raise ValueError("metadata must be text by name, and no tensor can be called __metadata__")
    header: dict[str, Any] = {"__metadata__": {"format": "pt", **metadata}}
    offset = 0
    arrays = {name: _plain(np.asarray(value)) for name, value in tensors.items()}
    for name, array in arrays.items():
        if array.dtype not in names:
            raise ValueError(f"{name} is {array.dtype}; safetensors holds {', '.join(_SAFE)}")
        spans = [offset, offset + array.nbytes]
        header[name] = {"dtype": names[array.dtype], "shape": list(array.shape), "data_offsets": spans}
        offset += array.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > _LONGEST_HEADER:
        raise ValueError(f"names and notes take {len(text):,} bytes; at most {_LONGEST_HEADER:,} are read back")
    target = Path(path)
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, "is a folder; give the file to write", str(target))
    partial = target.with_name(f"{target.name}.partial")
    try:
        with partial.open("wb") as file:
            file.write(len(text).to_bytes(8, "little"))
            file.write(text)
            for array in arrays.values():
                file.write(array.tobytes())
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)  # left over where the disk is full


def _plain(value: np.ndarray) -> np.ndarray:
    """The array in one piece, its bytes in this machine's order."""
    return np.ascontiguousarray(value, value.dtype.newbyteorder("=")).reshape(value.shape)


def _from_zip(path: Path) -> dict[str, np.ndarray]:
    with opened(path) as archive:
        names = archive.namelist()
    if any(name.endswith("data.pkl") for name in names):
        return read_archive(path)
    if not all(name.endswith(".npy") for name in names):
        raise RefusedError(f"{path} is an archive, but neither NumPy's nor PyTorch's")
    found = arrays_in(path)
    return {name: _number(name, value) for name, value in found.items() if value.dtype.kind not in "US"}  # notes


def _number(name: str, value: np.ndarray) -> np.ndarray:
    """An array of an .npz, whose two nameless bytes are a bfloat16: NumPy writes it so."""
    value = value.view(ml_dtypes.bfloat16) if value.dtype == np.dtype("V2") else value
    if value.dtype.newbyteorder("=") not in map(np.dtype, _SAFE.values()):
        raise RefusedError(f"{name} is {value.dtype}; read are {', '.join(_SAFE)}")
    return value


def _from_safetensors(path: Path) -> dict[str, np.ndarray]:
    size = path.stat().st_size
    with path.open("rb") as file:
        header, length = _header(path, file)
        try:
            entries = {name: value for name, value in header.items() if name != "__metadata__"}
            plan = {name: _entry(name, value, size - 8 - length) for name, value in entries.items()}
        except (AttributeError, KeyError, TypeError) as error:
            raise RefusedError(f"{path} has a header that can't be read: {error}") from None
        _check_spans([value["data_offsets"] for value in entries.values()], size - 8 - length)
        tensors = {}
        for name, (dtype, shape, start) in plan.items():
            file.seek(8 + length + start)
            count = math.prod(shape)
            tensors[name] = np.frombuffer(file.read(count * np.dtype(dtype).itemsize), dtype).reshape(shape)
    return tensors


def _header(path: Path, file: BinaryIO) -> tuple[dict, int]:
    """The header of a safetensors file, and how many bytes it has."""
    size, length = path.stat().st_size, int.from_bytes(file.read(8), "little")
    if size < 8 or length > size - 8:
        raise RefusedError(f"{path} is no file of weights: neither safetensors, .npz nor PyTorch's")
    if length > _LONGEST_HEADER:
        raise RefusedError(f"{path} has a header of {length:,} bytes; at most {_LONGEST_HEADER:,} are read")
    try:
        header = json.loads(file.read(length), object_pairs_hook=_once)
        if not isinstance(header, dict):
            raise TypeError("it is no object")
    except (UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise RefusedError(f"{path} has a header that can't be read: {error}") from None
    return header, length


def _once(pairs: list[tuple[str, Any]]) -> dict:
    """A JSON object, none of whose keys stands in it twice."""
    if len(dict(pairs)) < len(pairs):
        raise KeyError("a name that stands there twice")
    return dict(pairs)


def _check_spans(spans: list, size: int) -> None:
    """Refuses tensors that share bytes, and bytes that are no tensor's: the format has neither."""
    at = 0
    for start, stop in sorted(spans):
        if start != at:
            owners = "no tensor" if start > at else "two tensors"
            raise RefusedError(f"bytes {min(start, at)} to {max(start, at)} belong to {owners}")
        at = stop
    if at != size:
        raise RefusedError(f"bytes {at} to {size} belong to no tensor")


def _entry(name: str, value: dict, size: int) -> tuple:
    """Dtype, shape and first byte of a tensor of a safetensors file, checked."""
    start, stop = value["data_offsets"]
    shape = tuple(value["shape"])
    if value["dtype"] not in _SAFE:
        raise RefusedError(f"{name} is {value['dtype']}; read are {', '.join(_SAFE)}")
    whole = len(shape) <= _RANK and all(isinstance(n, int) and 0 <= n < 2**63 for n in (*shape, start, stop))
    if not whole or stop > size or stop - start != math.prod(shape) * np.dtype(_SAFE[value["dtype"]]).itemsize:
        span = f"bytes {start} to {stop} of {size}"
        raise RefusedError(f"{name} of shape {shape} is said to lie in {span}; was it cut short?")
    return _SAFE[value["dtype"]], shape, start
