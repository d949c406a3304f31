"""The JSON files of a workdir, sealed and read so that one which is torn or changed is said in words. Needs no jax."""

import json
import math
import zlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from cnnjax.archives import regular
from cnnjax.refusals import ConfigError

__all__ = ["read_json", "read_status", "sealed_json"]

_NONE: Mapping[str, type] = MappingProxyType({})
_SEAL = "crc32"


def sealed_json(content: Mapping[str, Any]) -> bytes:
    """An object as JSON with a checksum of all else in it; numbers that JSON doesn't know become null."""
    known = _without(_finite(content), _SEAL)
    return json.dumps({**known, _SEAL: _crc(known)}, indent=1, allow_nan=False).encode() + b"\n"


def read_json(path: str | Path, kinds: Mapping[str, type] = _NONE) -> dict[str, Any]:
    """The object that a JSON file holds; a ConfigError where it is none any more, or not as it was written, or lacks
    a word of these `kinds`.

    A file that is not there is a FileNotFoundError. Files of earlier releases have no seal, and are taken as they are.
    """
    try:
        with regular(path) as file:
            content = json.loads(file.read())
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        where = f" (line {error.lineno})" if isinstance(error, json.JSONDecodeError) else ""
        raise ConfigError(f"{path} is not JSON any more{where}; restore it from a copy") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path} holds no object but {json.dumps(content)[:40]}; restore it from a copy")
    for word, kind in kinds.items():
        if not isinstance(content.get(word), kind):
            raise ConfigError(f"{path} holds no {word!r} as it was written; restore it from a copy")
    if _is_changed(content):
        own = f"take its {_SEAL!r} out if you changed it yourself"
        raise ConfigError(f"{path} is not as it was written, says its checksum; restore it from a copy ({own})")
    return _without(content, _SEAL)


def read_status(workdir: str | Path) -> dict[str, Any]:
    """The content of `status.json`; {} where no run has written one, the status "unreadable" where it is damaged."""
    try:
        status = read_json(Path(workdir) / "status.json")
    except FileNotFoundError:
        return {}
    except ConfigError:
        return {"status": "unreadable"}
    kinds = {"status": str, "step": int, "lines": int, "metric": str, "higher": bool, "reason": str}
    kinds |= {"frozen": dict, "files": dict}
    sound = all(type(status.get(word, kind())) is kind for word, kind in kinds.items())
    metrics = all(isinstance(status.get(split, {}), dict) for split in ("train", "eval", "test"))
    return status if sound and metrics and "status" in status else {"status": "unreadable"}


def _finite(content: Any) -> Any:
    """Content as JSON has it: mappings, lists, texts and finite numbers; what is not finite is None."""
    if isinstance(content, Mapping):
        return {str(key): _finite(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [_finite(value) for value in content]
    if hasattr(content, "tolist"):
        return _finite(content.tolist())
    if isinstance(content, Path):
        return str(content)
    if isinstance(content, float) and not math.isfinite(content):
        return None
    return content


def _is_changed(content: Mapping[str, Any]) -> bool:
    """Whether an object is sealed, and not what was sealed; the name of the seal is a part of that."""
    numbers = [key for key, value in content.items() if type(value) is int]
    seals = [key for key in numbers if content[key] == _crc(_without(content, key))]
    return seals != [_SEAL] if _SEAL in content else bool(seals)


def _without(content: Mapping[str, Any], word: str) -> dict[str, Any]:
    return {key: value for key, value in content.items() if key != word}


def _crc(content: Mapping[str, Any]) -> int:
    try:
        return zlib.crc32(json.dumps(content, sort_keys=True).encode())
    except RecursionError:  # brackets in brackets, which nothing here writes
        return -1
