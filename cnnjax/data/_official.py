"""The files in which MNIST, Fashion-MNIST and CIFAR-10 were published."""

import gzip
import struct

import numpy as np

from cnnjax.data.source import DataError

_IDX = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
_PACKED = tuple(f"{part}-ubyte.gz" for part in _IDX)
_BATCHES = (*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin")
_MOST = 2**26  # bytes of an unpacked file; the training pictures have 47,040,000
OFFICIAL = {"mnist": _PACKED, "fashion_mnist": _PACKED, "cifar10": _BATCHES}
"""The files of each set, as they are published."""


def official(name, directory):
    """(train, test) fields of a set's official files in a directory, and those that are missing, of which all may be.

    MNIST's may be unpacked, CIFAR-10's in cifar-10-batches-bin.
    """
    places = [directory, directory / "cifar-10-batches-bin"] if name == "cifar10" else [directory]
    found = [[_there(place / file) for file in OFFICIAL[name]] for place in places]
    paths = max(found, key=lambda paths: sum(map(bool, paths)))
    missing = [file for file, path in zip(OFFICIAL[name], paths, strict=True) if not path]
    if missing:
        return (), missing
    return (_cifar10 if name == "cifar10" else _mnist)(paths), missing


def _there(path):
    unpacked = path.with_suffix("") if path.suffix == ".gz" else path
    return path if path.is_file() else unpacked if unpacked.is_file() else ""


def _mnist(paths):
    images, labels, test_images, test_labels = paths
    return tuple(
        {"image": _idx(pictures, 3), "label": _idx(numbers, 1)}
        for pictures, numbers in ((images, labels), (test_images, test_labels))
    )


def _idx(path, dimensions):
    """The array of an idx file: two zeros, a type, the number of dimensions, each of them, and the bytes."""
    head = 4 + 4 * dimensions
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
            magic, *shape = struct.unpack(f">I{dimensions}I", file.read(head))
            expected = int(np.prod(shape, dtype=object))
            if magic != 0x800 + dimensions or expected > _MOST:
                raise DataError(f"{path} is no idx file of bytes in {dimensions} dimensions")
            data = file.read(expected + 1)
    except (OSError, EOFError, struct.error) as error:
        raise DataError(f"{path} cannot be read ({error}); download it again") from error
    if len(data) != expected:
        raise DataError(f"{path} promises {expected} bytes and holds {len(data)} or more; download it again")
    return np.frombuffer(data, np.uint8).reshape(shape)


def _cifar10(paths):
    parts = [_cifar(path) for path in paths]
    return {field: np.concatenate([part[field] for part in parts[:5]]) for field in ("image", "label")}, parts[5]


def _cifar(path):
    size = path.stat().st_size
    if size != 10_000 * 3073:
        raise DataError(f"{path} holds {size} bytes, not 30730000; download it again")
    records = np.fromfile(path, np.uint8).reshape(10_000, 3073)
    return {"image": records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), "label": records[:, 0]}
