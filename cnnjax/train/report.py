"""What a run says while it trains and leaves behind: metrics.jsonl (the truth), events, a live line, curves, a table.

Nothing here may stop training or change its result: a logger that fails is named once and left out.
"""

import contextlib
import math
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from cnnjax.train._loggers import Lines, TensorBoard, Terminal, Wandb
from cnnjax.train.curves import draw_curves
from cnnjax.train.tables import readable, tabulate

__all__ = ["Report"]

_NONE: Mapping[str, Any] = MappingProxyType({})
_OURS = ("step", "kind", "split", "name", "time", "not_finite", "at")


class Report:
    """The report of one run, from step `resumed_at` (what was reported after it is dropped) to `total_steps`.

    A line of `metrics.jsonl` holds step, kind (train, eval or event), the metrics, and under `time` all that differs
    between two runs of the same config. `headline` is the metric shown beside the loss. Where several processes
    train, one alone is `active`; the others say nothing.
    """

    def __init__(
        self,
        workdir: str | Path,
        *,
        total_steps: int,
        resumed_at: int = 0,
        headline: str = "accuracy",
        tensorboard: bool = True,
        wandb: str = "",
        curves: bool = True,
        quiet: bool = False,
        active: bool = True,
        config: Mapping[str, Any] = _NONE,
    ):
        self._workdir, self._total, self._headline, self._curves = Path(workdir), total_steps, headline, curves
        self._quiet, self._active = quiet or not active, active
        self._lines = Lines(self._workdir / "metrics.jsonl")
        self._terminal = Terminal()
        self._others: list[Any] = []
        if active and tensorboard:
            self._others.append(TensorBoard(self._workdir / "tensorboard"))
        if active and wandb:
            self._others.append(Wandb(self._workdir, wandb, config))
        self._failed: set[str] = set()
        self._reported: set[tuple] = set()
        self._began = self._last = resumed_at
        self._spent = self._compiled = self._compiling = 0.0
        self.truncate(resumed_at or -1)

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        self.close()

    def compiled(self, seconds: float) -> None:
        """Notes that compiling took `seconds`, which are no part of the speed."""
        self._compiled += seconds
        self._compiling += seconds
        self.note(f"compiled in {seconds:.1f} s")

    def train(self, step: int, metrics: Mapping[str, Any], *, examples: int, seconds: float, epoch: float) -> None:
        """Reports training metrics over the `examples` and `seconds` since the last report, compilation left out."""
        steps = max(1, step - self._last)
        self._last = step
        self._spent += seconds
        speed = {
            "examples_per_second": examples / seconds if seconds > 0 else 0.0,
            "step_ms": 1000 * seconds / steps,
            "seconds": seconds,
        }
        if self._compiling:
            speed["compile_seconds"], self._compiling = self._compiling, 0.0
        self._put({"step": step, "kind": "train", "epoch": epoch}, metrics, speed)
        done = max(1, step - self._began)
        left = (self._total - step) * self._spent / done
        self._show("live", self._progress(step, metrics, speed, left))

    def eval(self, step: int, split: str, metrics: Mapping[str, Any], *, seconds: float = 0.0) -> None:
        """Reports the metrics of a whole split."""
        self._spent += seconds
        self._put({"step": step, "kind": "eval", "split": split}, metrics, {"seconds": seconds})
        shown = "  ".join(f"{name} {readable(metrics[name])}" for name in self._shown(metrics))
        self._show("say", f"{split:<5} {step:>{len(str(self._total))}}  {shown}")

    def event(self, step: int, name: str, detail: Mapping[str, Any] = _NONE) -> None:
        """Reports something that happens again when the run is repeated: a skipped update, a roll-back."""
        self._put({"step": step, "kind": "event", "name": name}, detail, {})
        words = "".join(f", {key} {readable(value)}" for key, value in detail.items())
        self.note(f"step {step}: {name}{words}")

    def note(self, text: str) -> None:
        """Prints a line for the reader alone."""
        self._show("say", text)

    def live(self, text: str) -> None:
        """Shows what is going on, on a real terminal, until the next line."""
        if not self._quiet:
            self._guard(self._terminal, lambda: self._terminal.live(text, stays=False))

    def lines(self) -> list[dict[str, Any]]:
        """What `metrics.jsonl` holds, as dicts in the order of writing."""
        return self._lines.read()

    def reported(self, step: int, kind: str, split: str = "") -> bool:
        """Whether a line of this kind (and split, or name of event) stands for `step`; it is not written again."""
        return (step, kind, split) in self._reported

    def truncate(self, step: int) -> None:
        """Drops the lines after `step`: on resuming and on rolling back, these steps come again."""
        if not self._active:
            return
        kept = self._guard(self._lines, lambda: self._lines.keep(lambda line: line["step"] <= step))
        self._reported = {_identity(line) for line in kept or ()}
        for logger in list(self._others):
            self._guard(logger, lambda logger=logger: logger.truncate(step))
        self._last = min(self._last, max(step, 0))
        self._began = min(self._began, self._last)

    def finish(self, table: Mapping[str, Mapping[str, Any]], *, notes: Sequence[str] = ()) -> None:
        """Draws `curves.png` and prints `table` (split → metrics), times and `notes` below it."""
        if not self._active:
            return
        self._guard(self._lines, self._lines.flush)
        path = self._workdir / "curves.png"
        if self._curves:
            self._guard(_Curves, lambda: draw_curves(self.lines(), path, headline=self._headline))
        times = f"{self._spent:.1f} s in steps and evaluation, {self._compiled:.1f} s compiling"
        self._show("say", "\n".join(["", tabulate(table), "", times, *notes]))

    def close(self) -> None:
        """Closes every file; the report may go on afterwards, in new ones."""
        for logger in [self._lines, self._terminal, *self._others]:
            self._guard(logger, logger.close)

    def _put(self, head: dict[str, Any], metrics: Mapping[str, Any], speed: dict[str, float]) -> None:
        taken = [name for name in metrics if name in _OURS]
        if taken:
            raise ValueError(f"a metric can't be called {taken[0]!r}; these names are taken: {', '.join(_OURS)}")
        if not self._active or _identity(head) in self._reported:
            return
        lost: list[str] = []
        line = head | {name: _finite(value, name, lost) for name, value in metrics.items()}
        if lost:
            line["not_finite"] = lost
        line["time"] = {**speed, "at": round(time.time(), 3)}
        self._reported.add(_identity(head))
        for logger in [self._lines, *self._others]:
            self._guard(logger, lambda logger=logger: logger.write(line))

    def _show(self, way: str, text: str) -> None:
        if not self._quiet:
            self._guard(self._terminal, lambda: getattr(self._terminal, way)(text))

    def _guard(self, logger: Any, act: Any) -> Any:
        """Does `act`; where it fails, says so once. All but the lines are then left out for good."""
        if logger.name in self._failed and logger is not self._lines:
            return None
        try:
            return act()
        except Exception as error:
            if logger.name not in self._failed:
                self._failed.add(logger.name)
                reason = (getattr(error, "strerror", "") or str(error) or type(error).__name__).splitlines()[0]
                later = "its lines wait in memory" if logger is self._lines else "training goes on without it"
                with contextlib.suppress(OSError, ValueError):
                    print(f"report: {logger.name} failed ({reason}); {later}", file=sys.stderr, flush=True)
                if logger is self._terminal:
                    _forsake_output()
            return None

    def _shown(self, metrics: Mapping[str, Any]) -> list[str]:
        names = [name for name in ("loss", self._headline) if name in metrics]
        return names or [name for name, value in metrics.items() if readable(value)][:2]

    def _progress(self, step: int, metrics: Mapping[str, Any], speed: Mapping[str, float], left: float) -> str:
        parts = [f"step {step:>{len(str(self._total))}}/{self._total}"]
        parts += [f"{name} {readable(metrics[name])}" for name in self._shown(metrics)]
        parts += [f"{speed['examples_per_second']:,.0f} examples/s", f"{speed['step_ms']:.3g} ms/step"]
        return "  ".join([*parts, f"{_clock(left)} left"])


class _Curves:
    name = "curves.png"


def _identity(line: Mapping[str, Any]) -> tuple:
    return line["step"], line["kind"], line.get("split") or line.get("name") or ""


def _finite(value: Any, name: str, lost: list[str]) -> Any:
    """`value` as JSON knows it; the name goes to `lost` where a number is not finite."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): _finite(part, name, lost) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(part, name, lost) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        if name not in lost:
            lost.append(name)
        return None
    return value


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def _forsake_output() -> None:
    """A pipe that nobody reads any more would raise again when Python closes it at the end."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
