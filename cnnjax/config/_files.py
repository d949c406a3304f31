"""Config files: found by name or path, run, and asked for the variant after the colon."""

import importlib.util
import inspect
import json
import re
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from cnnjax.archives import text_of
from cnnjax.config._sections import completed, plain
from cnnjax.refusals import ConfigError, nearest, on_disk

_SHIPPED = Path(__file__).parents[1] / "configs"  # in a checkout a link to the folder beside the package
_LONGEST = 2**22  # letters of a config.json
_NAME = re.compile(r"(\w+)(?::(.*))?")


def read(path: str) -> dict:
    """As nested dicts, the config of `digits`, `digits:variant`, `my/own.py:variant`, or of a run's `config.json`."""
    if not path:
        names = ", ".join(_names())
        raise ConfigError(f"--config is missing; give one of {names}\nor a .py file with get_config(variant)")
    file, variant = _place_of(path)
    if file.suffix == ".json":
        return _from_run(file)
    if file.suffix != ".py":
        raise ConfigError(f"--config={path}: {file} is neither a .py file with get_config(variant) nor a config.json")
    return _run(file, variant)


def _place_of(path: str) -> tuple[Path, str]:
    """The file and the variant that a word means: a file where there is one, else an experiment that comes with us."""
    on_disk(path, "--config")
    stem, colon, variant = path.partition(".py:")
    file = Path(f"{stem}.py" if colon else path)
    if file.is_file():
        return file, variant
    name = _NAME.fullmatch(path)
    if name and (_SHIPPED / f"{name[1]}.py").is_file():
        return _SHIPPED / f"{name[1]}.py", name[2] or ""
    what = "experiment of that name and no such file" if name else f"file {file}"
    raise ConfigError(f"--config={path}: there is no {what}{_hint(Path(name[1]) if name else file)}")


def _names() -> list[str]:
    """The experiments that come with the package."""
    return sorted(file.stem for file in _SHIPPED.glob("[!_]*.py"))


def _hint(file: Path) -> str:
    """What is nearest: files beside the one that is missing, and experiments that come with the package."""
    beside = {other.stem: str(other) for other in sorted(file.parent.glob("[!_]*.py"))} if file.suffix else {}
    known = {name: name for name in _names()} | beside
    close = [known[stem] for stem in nearest(file.stem, known)]
    return f"; nearest: {', '.join(close)}" if close else f"; those that come with cnnjax: {', '.join(_names())}"


def _from_run(file: Path) -> dict:
    try:
        with text_of(file) as opened:
            text = opened.read(_LONGEST + 1)
        if len(text) > _LONGEST:
            raise ConfigError(f"--config={file} has more than {_LONGEST:,} letters; that is no run's config")
        content = json.loads(text)
        config = content.get("config", content) if isinstance(content, dict) else content
        if not isinstance(config, dict):
            raise ConfigError(f"--config={file} holds no config; give a run's config.json")
        return completed(config)
    except ConfigError:
        raise
    except (ValueError, RecursionError) as error:  # brackets in brackets in brackets
        raise ConfigError(f"--config={file} is not JSON: {error}") from error


def beside(path: str, name: str) -> Any:
    """What the function `name` of a config file returns, which stands there beside `get_config`."""
    file, _ = _place_of(path)
    if file.suffix != ".py":
        raise ConfigError(f"--config={path}: {name}() is looked for in a .py file with get_config; there is none here")
    function = getattr(_module(file), name, None)
    if function is None:
        raise ConfigError(f"{file} has no function {name}(); put it beside get_config")
    return _called(file, name, function)


def _module(file: Path) -> Any:
    spec = importlib.util.spec_from_file_location(f"config_{file.stem}", file)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from error
    except Exception as error:
        raise ConfigError(f"{file} can't be run: {_place(error, file)}") from error
    return module


def _called(file: Path, name: str, function: Callable, *arguments: str) -> Any:
    try:
        return function(*arguments)
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from error
    except Exception as error:
        raise ConfigError(f"{file}: {name} failed: {_place(error, file)}") from error


def _run(file: Path, variant: str) -> dict:
    make = getattr(_module(file), "get_config", None)
    if make is None:
        raise ConfigError(f"{file} has no function get_config(variant) that returns a config")
    takes = len(inspect.signature(make).parameters)
    if variant and not takes:
        raise ConfigError(f"--config={file}:{variant}: {file} has no variants; leave out :{variant}")
    config = _called(file, "get_config", make, *((variant,) if variant else ()))
    if not isinstance(config, ConfigDict):
        raise ConfigError(f"{file}: get_config returned a {type(config).__name__}, not what config.experiment returns")
    return plain(config)


def _place(error: Exception, file: Path) -> str:
    """The error in a line, with the line of the file that it comes from."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if Path(frame.filename).absolute() == file.absolute()]
    line = error.lineno if isinstance(error, SyntaxError) else lines[-1] if lines else None
    message = error.msg if isinstance(error, SyntaxError) else (str(error).splitlines() or [""])[0]
    return f"{type(error).__name__}: {message}" + (f" (line {line})" if line else "")
