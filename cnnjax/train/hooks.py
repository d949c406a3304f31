"""Functions of a user's own that are called after every evaluation, and whose numbers and figures are logged."""

import inspect
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cnnjax.config import ConfigError
from cnnjax.config.signatures import function_at
from cnnjax.refusals import plain
from cnnjax.runs.reports import Report
from cnnjax.train.trained import Trained

__all__ = ["Hooks"]

_TAKEN = ("train", "eval", "test")


class Hooks:
    """The functions that `report.hooks` names (`my_file:each_epoch`).

    Each is called as hook(step, trained, metrics), with the network as it is and what was found on the eval split, and
    returns nothing, or a dict of numbers, which make a line of the function's name, and of matplotlib figures, which
    become pictures. `trained` is good until it returns: the next step takes its arrays. One that fails is named once,
    with the line of its file, and left out: nothing here may stop a training.
    """

    def __init__(self, names: Sequence[str]):
        self._hooks: dict[str, Callable] = {}
        for name in names:
            function, path = function_at(name, "report.hooks"), name.rpartition(":")[2]
            try:
                inspect.signature(function).bind(0, None, {})
            except TypeError:
                wanted = f"def {path}(step, trained, metrics)"
                raise ConfigError(f"report.hooks has {name!r}, which can't be called as a hook is: {wanted}") from None
            if path in (*_TAKEN, *self._hooks):
                raise ConfigError(f"report.hooks has {name!r}, but lines of {path!r} are others'; rename the function")
            self._hooks[path] = function

    def __bool__(self) -> bool:
        return bool(self._hooks)

    def __call__(self, step: int, trained: Trained, metrics: Mapping[str, Any], report: Report) -> None:
        for name, hook in list(self._hooks.items()):
            try:
                _log(report, step, name, hook(step, trained, metrics) or {})
            except Exception as error:
                del self._hooks[name]
                said = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
                print(
                    plain(
                        f"report.hooks: {name} failed at step {step}, {_where(error, hook)} ({said}); "
                        "training goes on without it"
                    ),
                    file=sys.stderr,
                    flush=True,
                )


def _log(report: Report, step: int, name: str, found: Mapping[str, Any]) -> None:
    """Writes what a hook found."""
    numbers = {}
    for key, value in found.items():
        if hasattr(value, "savefig"):
            report.picture(step, f"{name}_{key}", value)
        else:
            numbers[key] = float(value)
    if numbers:
        report.eval(step, name, numbers)


def _where(error: BaseException, hook: Callable) -> str:
    """The last line of the hook's own file that an error went through."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename == inspect.getsourcefile(inspect.unwrap(hook))]
    return f"line {own[-1].lineno} of {own[-1].filename}" if own else "by what it returned"
