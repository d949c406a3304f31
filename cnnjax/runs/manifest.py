"""A directory that knows what it must hold: a manifest beside the files, with the size and checksum of each."""

import contextlib
import errno
import json
import math
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cnnjax.archives import regular
from cnnjax.runs._disk import sync_tree

_MANIFEST = "manifest.json"


__all__ = ["Damaged", "check_files", "damages", "floats", "manifest_of", "numbers", "prints", "seal"]


class Damaged(Exception):
    """What is on the disk is not what was saved."""


def seal(directory: Path, head: dict[str, Any]) -> None:
    """Writes the manifest: `head`, every file below `directory` with its size and checksum, and its own checksum.

    When it returns, all of it is on the disk: what writes the arrays leaves its small files to the kernel.
    """
    names = sorted(str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file())
    manifest = {**head, "files": {name: _print(directory / name) for name in names}}
    manifest["crc32"] = _crc(manifest)
    with open(directory / _MANIFEST, "w", encoding="utf-8") as file:
        json.dump(manifest, file, indent=1)
    sync_tree(directory)


def manifest_of(directory: Path) -> dict[str, Any]:
    """The manifest of a directory; Damaged if it is not the one that was written."""
    try:
        with regular(directory / _MANIFEST) as file:
            manifest = json.loads(file.read())
    except (FileNotFoundError, NotADirectoryError):
        raise Damaged(f"{_MANIFEST} is missing") from None
    except IsADirectoryError:
        raise Damaged(f"{_MANIFEST} is a directory") from None
    except ValueError:
        manifest = None
    if not isinstance(manifest, dict) or manifest.pop("crc32", None) != _crc(manifest):
        raise Damaged(f"{_MANIFEST} does not match its checksum")
    return manifest


def prints(paths: Iterable[Path]) -> dict[str, list[int]]:
    """Size and checksum of files, by name; those that can't be read are left out."""
    found = {}
    for path in paths:
        with contextlib.suppress(OSError, ValueError):
            found[path.name] = _print(path)
    return found


def damages(directory: Path, files: Mapping[str, list[int]]) -> list[str]:
    """What is wrong with files that had these sizes and checksums, in words."""
    found = []
    for name, mark in files.items():
        try:
            check_files(directory, {"files": {name: mark}})
        except (Damaged, OSError) as damage:
            found.append(f"{directory / name} is damaged: {damage}")
    return found


def check_files(directory: Path, manifest: dict[str, Any]) -> None:
    """Raises Damaged, with the name of the file, unless each holds what it held when the manifest was written."""
    for name, (size, crc) in manifest["files"].items():
        try:
            found = _print(directory / name)
        except (FileNotFoundError, NotADirectoryError):
            raise Damaged(f"{name} is missing") from None
        except IsADirectoryError:
            raise Damaged(f"{name} is a directory") from None
        except ValueError as error:
            raise Damaged(f"{name}: {error}") from None
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            raise Damaged(f"{name}: {error.strerror}") from error
        if found[0] != size:
            raise Damaged(f"{name} has {found[0]} bytes instead of {size}")
        if found[1] != crc:
            raise Damaged(f"{name} does not match its checksum")


def numbers(metrics: Mapping[str, float]) -> dict[str, float | None]:
    """Metrics as JSON has them, which knows no NaN and no infinity."""
    plain = {name: float(value) for name, value in metrics.items()}
    return {name: value if math.isfinite(value) else None for name, value in plain.items()}


def floats(metrics: Mapping[str, float | None]) -> dict[str, float]:
    """The metrics that `numbers` gave."""
    return {name: math.nan if value is None else value for name, value in metrics.items()}


def _print(path: Path) -> list[int]:
    """Size and checksum of a file."""
    size = crc = 0
    with regular(path) as file:
        while chunk := file.read(1 << 20):
            size += len(chunk)
            crc = zlib.crc32(chunk, crc)
    return [size, crc]


def _crc(manifest: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(manifest, sort_keys=True).encode())
