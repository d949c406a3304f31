"""The files in which MNIST, Fashion-MNIST and CIFAR-10 were published."""

import gzip
import struct

import numpy as np

from cnnjax.data.source import DataError


def official_mnist(directory):
    """(train, test) fields of the four idx files, packed or not, in a directory; () where one is missing."""
    splits = []
    for prefix in ("train", "t10k"):
        paths = [_there(directory / f"{prefix}-{kind}-ubyte") for kind in ("images-idx3", "labels-idx1")]
        if not all(paths):
            return ()
        splits.append({"image": _idx(paths[0], 3), "label": _idx(paths[1], 1)})
    return tuple(splits)


def _there(path):
    packed = path.with_name(f"{path.name}.gz")
    return packed if packed.is_file() else path if path.is_file() else ""


def _idx(path, dimensions):
    """The array of an idx file: two zeros, a type, the number of dimensions, each of them, and the bytes."""
    head = 4 + 4 * dimensions
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
            magic, *shape = struct.unpack(f">I{dimensions}I", file.read(head))
            expected = int(np.prod(shape, dtype=object))
            if magic != 0x800 + dimensions or expected > 2**30:
                raise DataError(f"{path} is no idx file of bytes in {dimensions} dimensions")
            data = file.read(expected + 1)
    except (OSError, EOFError, struct.error) as error:
        raise DataError(f"{path} cannot be read ({error}); download it again") from error
    if len(data) != expected:
        raise DataError(f"{path} promises {expected} bytes and holds {len(data)} or more; download it again")
    return np.frombuffer(data, np.uint8).reshape(shape)


def official_cifar10(directory):
    """(train, test) fields of the six .bin files in a directory or in its cifar-10-batches-bin; () without them."""
    names = [*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"]
    for place in (directory, directory / "cifar-10-batches-bin"):
        if all((place / name).is_file() for name in names):
            parts = [_cifar(place / name) for name in names]
            train = {field: np.concatenate([part[field] for part in parts[:5]]) for field in ("image", "label")}
            return train, parts[5]
    return ()


def _cifar(path):
    records = np.fromfile(path, np.uint8)
    if records.size != 10_000 * 3073:
        raise DataError(f"{path} holds {records.size} bytes, not 30730000; download it again")
    records = records.reshape(10_000, 3073)
    return {"image": records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), "label": records[:, 0]}
