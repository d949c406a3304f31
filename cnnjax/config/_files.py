"""Config files: found by path, run, and asked for the variant after the colon."""

import importlib.util
import inspect
import json
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from cnnjax.config._sections import completed, plain
from cnnjax.refusals import ConfigError, nearest, suggestion


def read(path: str) -> dict:
    """As nested dicts, the config of `configs/digits.py`, `configs/digits.py:variant`, or a run's `config.json`."""
    if not path:
        raise ConfigError(f"--config is missing; give one of {', '.join(_known(Path('configs'))) or 'your own files'}")
    file, _, variant = path.partition(".py:") if ".py:" in path else (path, "", "")
    file = Path(f"{file}.py" if ".py:" in path else file)
    if not file.is_file():
        raise ConfigError(f"--config={path}: there is no file {file}{_hint(file)}")
    if file.suffix == ".json":
        return _from_run(file)
    if file.suffix != ".py":
        raise ConfigError(f"--config={path}: {file} is neither a .py file with get_config(variant) nor a config.json")
    return _run(file, variant)


def _known(folder: Path) -> list[str]:
    return sorted(str(file) for file in folder.glob("*.py") if file.stem != "__init__") if folder.is_dir() else []


def _hint(file: Path) -> str:
    known = dict.fromkeys((*_known(Path("configs")), *_known(file.parent)))
    names = {Path(other).stem: other for other in known}
    close = [names[stem] for stem in nearest(file.stem, names)]
    if close:
        return f"; nearest: {', '.join(close)}"
    return suggestion(str(file), known, every="see the folder configs")


def _from_run(file: Path) -> dict:
    try:
        content = json.loads(file.read_text())
    except ValueError as error:
        raise ConfigError(f"--config={file} is not JSON: {error}") from error
    content = content.get("config", content) if isinstance(content, dict) else {}
    return completed(content)


def beside(path: str, name: str) -> Any:
    """What the function `name` of a config file returns, which stands there beside `get_config`."""
    file = Path(f"{path.partition('.py:')[0]}.py" if ".py:" in path else path)
    if file.suffix != ".py" or not file.is_file():
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
