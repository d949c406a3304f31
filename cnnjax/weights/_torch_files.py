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

from cnnjax.archives import opened
from cnnjax.weights._pickles import LONGEST, Pickles, RefusedError, Storage, Tensor

__all__ = ["MAGIC", "read_archive", "read_legacy"]

MAGIC = 0x1950A86A20F9469CFC6C
_MOST = 100_000  # tensors of a file, in less than a second
_HOLDERS = ("state_dict", "model_state_dict", "model", "model_ema", "net", "params")
_DTYPES = {
    "Float": np.float32,
    "Double": np.float64,
    "Half": np.float16,
    "BFloat16": ml_dtypes.bfloat16,
    "Long": np.int64,
    "Int": np.int32,
    "Short": np.int16,
    "Char": np.int8,
    "Byte": np.uint8,
    "Bool": np.bool_,
}


def read_archive(path: Path) -> dict[str, np.ndarray]:
    """The state dict that `torch.save` of PyTorch 1.6 and later put into a file."""
    stored = {}
    with opened(path) as archive:
        names = {info.filename: info for info in archive.infolist()}
        roots = [name.removesuffix("data.pkl") for name in names if f"/{name}".endswith("/data.pkl")]
        if len(roots) != 1:
            raise RefusedError(f"{path} has {len(roots)} entries data.pkl; PyTorch writes one")
        root = roots[0]
        if any(info.compress_type != zipfile.ZIP_STORED for info in names.values()):
            raise RefusedError(f"{path} is a compressed archive; PyTorch writes none")
        if names[f"{root}data.pkl"].file_size > LONGEST:
            raise RefusedError(f"{path} has a data.pkl of more than {LONGEST:,} bytes; save the state dict alone")
        order = archive.read(f"{root}byteorder").decode().strip() if f"{root}byteorder" in names else "little"

        def numbers(storage: Storage) -> np.ndarray:
            name = f"{root}data/{storage.key}"
            if name not in names:
                raise RefusedError(f"{path} lacks {name}, which a tensor refers to")
            if storage not in stored:
                stored[storage] = _numbers(archive.read(name), storage, order)
            return stored[storage]

        return _state_dict(Pickles(io.BytesIO(archive.read(f"{root}data.pkl"))).next(), numbers, path)


def read_legacy(path: Path) -> dict[str, np.ndarray]:
    """The state dict that `torch.save` before PyTorch 1.6 put into a file."""
    with path.open("rb") as file:
        head = io.BytesIO(file.read(LONGEST))
        pickles = Pickles(head)
        if pickles.next() != MAGIC or pickles.next() != 1001:
            raise RefusedError(f"{path} is a pickle, but not one of PyTorch's files of weights")
        order = "little" if pickles.next().get("little_endian", True) else "big"
        value, keys = pickles.next(), pickles.next()
        if not isinstance(keys, list) or not all(isinstance(key, str | int) for key in keys):
            raise RefusedError(f"{path} lists its storages by something else than names")
        file.seek(head.tell())
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

    return _state_dict(value, numbers, path)


def _numbers(raw: bytes, storage: Storage, order: str) -> np.ndarray:
    dtype = np.dtype(_DTYPES[storage.kind])
    if len(raw) != storage.count * dtype.itemsize:
        raise RefusedError(f"storage {storage.key} has {len(raw)} bytes; {storage.count} {storage.kind} were declared")
    if order == "big" and dtype.itemsize > 1:
        raw = np.frombuffer(raw, np.dtype(f"V{dtype.itemsize}")).tobytes()
        raw = np.frombuffer(raw, np.uint8).reshape(-1, dtype.itemsize)[:, ::-1].tobytes()
    return np.frombuffer(raw, dtype)


def _tensors(value: Any) -> list[Tensor]:
    """Every tensor in nested dicts and lists; what stands in several places is looked at once."""
    found, seen, waiting = [], set(), [value]
    while waiting:
        part = waiting.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        if isinstance(part, Tensor):
            found.append(part)
        elif isinstance(part, dict | list | tuple):
            waiting.extend(part.values() if isinstance(part, dict) else part)
    return found


def _state_dict(value: Any, numbers: Callable[[Storage], np.ndarray], path: Path) -> dict[str, np.ndarray]:
    """The tensors of a file by name, looked for first in the dicts that training scripts wrap them in.

    What else a checkpoint holds, such as an optimizer's moments, is not read.
    """
    seen, waiting = set(), [value]
    bare = {}  # where no holder has tensors, those beside the holders
    while waiting:
        part = waiting.pop()
        if not isinstance(part, dict) or id(part) in seen:
            continue
        seen.add(id(part))
        holders = [part[holder] for holder in _HOLDERS if isinstance(part.get(holder), dict)]
        tensors = {str(name): tensor for name, tensor in part.items() if isinstance(tensor, Tensor)}
        if len(tensors) > _MOST:
            raise RefusedError(f"{path} has {len(tensors):,} tensors; at most {_MOST:,} are read")
        if tensors and not holders:
            return {name: _array(tensor, numbers) for name, tensor in tensors.items()}
        bare = bare or tensors
        waiting.extend(reversed(holders))
    if not bare:
        raise RefusedError(f"{path} holds no dict of tensors")
    return {name: _array(tensor, numbers) for name, tensor in bare.items()}


def _array(tensor: Tensor, numbers: Callable[[Storage], np.ndarray]) -> np.ndarray:
    """The numbers of a tensor: a view of its storage, which other tensors may share."""
    flat = numbers(tensor.storage)
    last = tensor.offset + sum((n - 1) * step for n, step in zip(tensor.size, tensor.stride, strict=True))
    if 0 in tensor.size:
        return np.zeros(tensor.size, flat.dtype)
    if math.prod(tensor.size) > len(flat):  # a stride of 0 would make a terabyte of one number
        raise RefusedError(f"a tensor of size {tensor.size} repeats its {len(flat)} stored numbers")
    if last >= len(flat):
        raise RefusedError(f"a tensor of size {tensor.size} reaches beyond its storage of {len(flat)} numbers")
    steps = tuple(step * flat.itemsize for step in tensor.stride)
    return np.lib.stride_tricks.as_strided(flat[tensor.offset :], tensor.size, steps, writeable=False)
