"""The JSON files of a workdir, read so that one which is torn or changed is said in words. Needs no jax."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from cnnjax.refusals import ConfigError

__all__ = ["read_json", "read_status"]

_NONE: Mapping[str, type] = MappingProxyType({})


def read_json(path: str | Path, kinds: Mapping[str, type] = _NONE) -> dict[str, Any]:
    """The object that a JSON file holds; a ConfigError where it is none any more, or lacks a word of these `kinds`.

    A file that is not there is a FileNotFoundError.
    """
    try:
        content = json.loads(Path(path).read_bytes())
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
    return content


def read_status(workdir: str | Path) -> dict[str, Any]:
    """The content of `status.json`; {} where no run has written one, the status "unreadable" where it is damaged."""
    try:
        status = read_json(Path(workdir) / "status.json")
    except FileNotFoundError:
        return {}
    except ConfigError:
        return {"status": "unreadable"}
    kinds = {"status": str, "step": int, "lines": int, "metric": str, "higher": bool, "frozen": dict, "reason": str}
    sound = all(type(status.get(word, kind())) is kind for word, kind in kinds.items())
    metrics = all(isinstance(status.get(split, {}), dict) for split in ("train", "eval", "test"))
    return status if sound and metrics and "status" in status else {"status": "unreadable"}
