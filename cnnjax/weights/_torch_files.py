"""PyTorch's two layouts of a file of weights: a zip archive, and pickles with raw numbers after them."""

import io
import math
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from cnnjax.weights._pickles import RefusedError, Storage, Tensor, loaded

__all__ = ["MAGIC", "read_archive", "read_legacy"]

MAGIC = 0x1950A86A20F9469CFC6C
_DTYPES = {
    "Float": np.float32, "Double": np.float64, "Half": np.float16, "BFloat16": ml_dtypes.bfloat16, "Long": np.int64,
    "Int": np.int32, "Short": np.int16, "Char": np.int8, "Byte": np.uint8, "Bool": np.bool_,
}


def read_archive(path: Path) -> Any:
    """What `torch.save` of PyTorch 1.6 and later put into a file, its tensors as arrays."""
    with zipfile.ZipFile(path) as archive:
        names = {info.filename: info for info in archive.infolist()}
        root = next(name for name in names if name.endswith("data.pkl")).removesuffix("data.pkl")
        if any(info.compress_type != zipfile.ZIP_STORED for info in names.values()):
            raise RefusedError(f"{path} is a compressed archive; PyTorch writes none")
        order = archive.read(f"{root}byteorder").decode().strip() if f"{root}byteorder" in names else "little"

        def numbers(storage: Storage) -> np.ndarray:
            name = f"{root}data/{storage.key}"
            if name not in names:
                raise RefusedError(f"{path} lacks {name}, which a tensor refers to")
            return _numbers(archive.read(name), storage, order)

        return _arrays(loaded(io.BytesIO(archive.read(f"{root}data.pkl"))), numbers)


def read_legacy(path: Path) -> Any:
    """What `torch.save` before PyTorch 1.6 put into a file, its tensors as arrays."""
    with path.open("rb") as file:
        if loaded(file) != MAGIC or loaded(file) != 1001:
            raise RefusedError(f"{path} is a pickle, but not one of PyTorch's files of weights")
        order = "little" if loaded(file).get("little_endian", True) else "big"
        value, keys = loaded(file), loaded(file)
        counted = {tensor.storage.key: tensor.storage for tensor in _tensors(value)}
        stored, size = {}, path.stat().st_size
        for key in keys:
            (count,) = struct.unpack("<q" if order == "little" else ">q", file.read(8))
            storage = counted.get(str(key))
            if storage is None:
                raise RefusedError(f"{path} holds a storage {key!r} that no tensor refers to")
            width = np.dtype(_DTYPES[storage.kind]).itemsize
            if count != storage.count or count * width > size:
                raise RefusedError(f"{path} says that storage {key} has {count} numbers; {storage.count} were declared")
            stored[str(key)] = _numbers(file.read(count * width), storage, order)

    def numbers(storage: Storage) -> np.ndarray:
        if storage.key not in stored:
            raise RefusedError(f"{path} lacks the storage {storage.key}, which a tensor refers to")
        return stored[storage.key]

    return _arrays(value, numbers)


def _numbers(raw: bytes, storage: Storage, order: str) -> np.ndarray:
    dtype = np.dtype(_DTYPES[storage.kind])
    if len(raw) != storage.count * dtype.itemsize:
        raise RefusedError(f"storage {storage.key} has {len(raw)} bytes; {storage.count} {storage.kind} were declared")
    if order == "big" and dtype.itemsize > 1:
        raw = np.frombuffer(raw, np.dtype(f"V{dtype.itemsize}")).tobytes()
        raw = np.frombuffer(raw, np.uint8).reshape(-1, dtype.itemsize)[:, ::-1].tobytes()
    return np.frombuffer(raw, dtype)


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return [tensor for part in parts for tensor in _tensors(part)]


def _arrays(value: Any, numbers: Callable[[Storage], np.ndarray]) -> Any:
    """The value with every tensor as an array."""
    if isinstance(value, Tensor):
        flat = numbers(value.storage)
        last = value.offset + sum((n - 1) * step for n, step in zip(value.size, value.stride, strict=True))
        if 0 in value.size:
            return np.zeros(value.size, flat.dtype)
        if math.prod(value.size) > len(flat):  # a stride of 0 would make a terabyte of one number
            raise RefusedError(f"a tensor of size {value.size} repeats its {len(flat)} stored numbers")
        if last >= len(flat):
            raise RefusedError(f"a tensor of size {value.size} reaches beyond its storage of {len(flat)} numbers")
        steps = tuple(step * flat.itemsize for step in value.stride)
        return np.lib.stride_tricks.as_strided(flat[value.offset:], value.size, steps).copy()
    if isinstance(value, dict):
        return {key: _arrays(part, numbers) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_arrays(part, numbers) for part in value)
    return value
