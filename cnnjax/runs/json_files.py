"""The JSON files of a workdir, read so that one which is torn or changed is said in words. Needs no jax."""

import json
from pathlib import Path
from typing import Any

from cnnjax.refusals import ConfigError

__all__ = ["read_json", "read_status"]


def read_json(path: str | Path) -> dict[str, Any]:
    """The object that a JSON file holds; a ConfigError where it is no JSON any more, or something else than an object.

    A file that is not there is a FileNotFoundError.
    """
    try:
        content = json.loads(Path(path).read_bytes())
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        line = getattr(error, "lineno", 0)
        raise ConfigError(f"{path} is not JSON any more{f' (line {line})' if line else ''}; restore it") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path} holds no object but {type(content).__name__}; restore it")
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
