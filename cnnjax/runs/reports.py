"""What a run says while it trains and leaves behind: metrics.jsonl (the truth), events, a live line, curves, a table.

Nothing here may stop training or change its result: a logger that fails is named once and left out.
"""

import contextlib
import io
import math
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from cnnjax.archives import ArchiveError, arrays_in
from cnnjax.refusals import plain
from cnnjax.runs._loggers import TensorBoard, Terminal, Wandb
from cnnjax.runs._metrics_file import Lines, NoLines
from cnnjax.runs._sealed import LOST
from cnnjax.runs.curves import draw_curves
from cnnjax.runs.lines import RESERVED, counted, split_of
from cnnjax.runs.pictures import draw_tables
from cnnjax.runs.tables import readable, tabulate
from cnnjax.runs.workdir import WorkdirLocked, write_file

__all__ = ["Report"]

_NONE: Mapping[str, Any] = MappingProxyType({})
_PATIENCE = 0.2  # seconds between two live lines


class Report:
    """The report of one run of `total_steps`.

    A line of `metrics.jsonl` holds step, kind (train, eval or event), the metrics, and under `time` all that differs
    between two runs of the same config. A line is written once: the same step and split again changes nothing, until
    `truncate` drops it. `metric` is shown beside the loss. Of several processes that train together, the first
    reports, and the others are silent.
    """

    def __init__(
        self,
        workdir: str | Path,
        *,
        total_steps: int,
        metric: str = "accuracy",
        tensorboard: bool = True,
        wandb: str = "",
        quiet: bool = False,
        config: Mapping[str, Any] = _NONE,
    ):
        self._workdir, self._total, self._metric = Path(workdir), total_steps, metric
        self._active = jax.process_index() == 0
        self._quiet = quiet or not self._active
        self._lines = Lines(self._workdir / "metrics.jsonl", _warn) if self._active else NoLines()
        self._terminal = Terminal()
        self._others: list[Any] = []
        if self._active and tensorboard:
            self._others.append(TensorBoard(self._workdir / "tensorboard"))
        if self._active and wandb:
            self._others.append(Wandb(self._workdir, wandb, config))
        self._failed: set[str] = set()
        self._progress = _Progress(total_steps)
        self._last_live = 0.0
        self._written = {_identity(line) for line in self._lines.read()} if self._active else set()

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        self.close()

    def truncate(self, step: int, mark: Mapping[str, int] = _NONE, *, known: int = 0) -> None:
        """Drops the lines after `step`: on resuming and on rolling back, these steps come again.

        What is lost of those up to the `mark` that a checkpoint keeps is said, and becomes an event. `known` is how
        many there were at that step, where another file says so.
        """
        if not self._active:
            return
        lost = self._guard(self._lines, lambda: self._lines.cut(step, mark, known=known))
        self._written = {_identity(line) for line in self._lines.read()}
        for logger in list(self._others):
            self._guard(logger, lambda logger=logger: logger.truncate(step))
        self._progress.back_to(step)
        if lost:
            self.event(step, LOST, lost)

    def mark(self) -> dict[str, int]:
        """What a checkpoint is to keep of the lines so far: their number, bytes and checksum."""
        return (self._active and self._guard(self._lines, self._lines.mark)) or {}

    def start(self, step: int) -> None:
        """Notes that the steps from `step` on begin now; the clock of the time left starts."""
        self._progress.start(step)
        if not self._quiet and step < self._total:
            self._guard(self._terminal, lambda: self._terminal.live("compiling …", stays=False))

    def compiled(self, seconds: float, *, steps: int = 0) -> None:
        """Notes that compiling, and the first `steps` done with it, took `seconds`; they are no part of the speed."""
        self._progress.compiled(seconds, steps)
        self.note(f"compiled, first step done in {seconds:.1f} s")

    def trained(self, step: int, seconds: float) -> None:
        """Notes that the steps up to `step` took `seconds` more, reports and evaluation left out."""
        self._progress.trained(step, seconds)

    def live(self, step: int) -> None:
        """Shows how far the run is, on a real terminal and not more often than one can read."""
        now = time.monotonic()
        if not self._quiet and now - self._last_live > _PATIENCE:
            self._last_live = now
            text = self._progress.text(step)
            self._guard(self._terminal, lambda: self._terminal.live(text, stays=False))

    def train(self, step: int, metrics: Mapping[str, Any], *, epoch: float, batch: int) -> None:
        """Reports training metrics since the last such report; the speed is of the time noted by `trained`."""
        speed = self._progress.speed(batch)
        self._put({"step": step, "kind": "train", "epoch": epoch}, metrics, speed)
        text = self._progress.text(step, {name: metrics[name] for name in self._shown(metrics)}, speed)
        self._show("live", text)

    def eval(self, step: int, split: str, metrics: Mapping[str, Any]) -> None:
        """Reports the metrics of a whole split."""
        self._put({"step": step, "kind": "eval", "split": split}, metrics, {})
        words = [f"{name} {readable(metrics[name])}" for name in self._shown(metrics)]
        shown = "  ".join(filter(None, [*words, counted(metrics)]))
        self._show("say", f"{split:<4} {step:>{len(str(self._total))}}/{self._total}  {shown}")

    def tables(self, split: str, tables: Mapping[str, np.ndarray]) -> None:
        """Writes the arrays of a split to `tables-<split>.npz`, whole or not at all, in place of those of before."""
        if self._active and tables:
            self.mark()  # a workdir that was moved away is made anew
            self._guard(_TABLES, lambda: _write(tables, self._workdir / f"tables-{split}.npz"))

    def picture(self, step: int, name: str, figure: Any) -> None:
        """Writes a matplotlib figure to `pictures/<name>_<step>.png`, and to the loggers that show pictures."""
        if not self._active:
            return
        content, path = io.BytesIO(), self._workdir / "pictures" / f"{name}_{step:06}.png"
        figure.savefig(content, format="png")
        path.parent.mkdir(exist_ok=True)
        write_file(path, content.getvalue())
        for logger in self._others:
            self._guard(logger, lambda logger=logger: logger.picture(step, name, path))

    def event(self, step: int, name: str, detail: Mapping[str, Any] = _NONE) -> None:
        """Records something that happens again when the run is repeated, as a roll-back; `note` tells the reader."""
        self._put({"step": step, "kind": "event", "name": name}, detail, {})

    def note(self, text: str) -> None:
        """Prints a line for the reader alone."""
        self._show("say", text)

    def warn(self, text: str) -> None:
        """Says on stderr what is wrong, also where the report is quiet."""
        if self._active:
            _warn(text)

    def has(self, step: int, split: str) -> bool:
        """Whether the metrics of a split (`train`, `eval`, `test`) at `step` are reported.

        Of several processes the first alone knows; all must ask together, and measure together what is missing.
        """
        known = (step, split) in self._written
        return bool(multihost_utils.broadcast_one_to_all(np.asarray(known))) if jax.process_count() > 1 else known

    def last(self, split: str) -> dict[str, Any]:
        """The metrics of a split that were reported last; {} if there are none. What is not finite is None."""
        lines = [line for line in self._lines.read() if split_of(line) == split]
        return {name: value for name, value in lines[-1].items() if name not in RESERVED} if lines else {}

    def lines(self) -> list[dict[str, Any]]:
        """What `metrics.jsonl` holds, as dicts in the order of writing."""
        return self._lines.read()

    def finish(self, *, curves: bool = True, names: Sequence[str] = (), notes: Sequence[str] = ()) -> None:
        """Draws `curves.png` and `tables-<split>.png`, and prints the last metrics of every split, with `notes` below.

        `names` are those of the classes.
        """
        if not self._active:
            return
        lines = self.lines()
        if curves:
            path = self._workdir / "curves.png"
            self._guard(_CURVES, lambda: draw_curves(lines, path, metric=self._metric))
            for tables in sorted(self._workdir.glob("tables-*.npz")):
                self._guard(_TABLES, lambda path=tables: _draw(path, names))
        splits = dict.fromkeys(split_of(line) for line in lines if line["kind"] != "event")
        table = {split: self.last(split) for split in splits}
        measured = {name for split, row in table.items() if split != "train" for name in row}
        if "train" in table and measured:
            table["train"] = {name: value for name, value in table["train"].items() if name in measured}
        self._show("say", "\n".join(["", tabulate(table), "", self._progress.story(), *notes]))

    def conclude(self, act: Callable[[], None]) -> None:
        """Lets others add to a run that is done; where that fails it is said, and changes nothing."""
        self._guard(_PAGE, act)

    def close(self) -> None:
        """Closes every file; the report may go on afterwards, in new ones."""
        for logger in [self._lines, self._terminal, *self._others]:
            self._guard(logger, logger.close)

    def _put(self, head: dict[str, Any], metrics: Mapping[str, Any], speed: dict[str, float]) -> None:
        taken = [name for name in metrics if name in RESERVED]
        if taken:
            raise ValueError(f"a metric can't be called {taken[0]!r}; these names are taken: {', '.join(RESERVED)}")
        lost: list[str] = []
        line = head | {name: _finite(value, name, lost) for name, value in metrics.items()}
        if not self._active or _identity(line) in self._written:
            return
        if lost:
            line["not_finite"] = lost
        line["time"] = {**speed, "at": round(time.time(), 3)}
        self._written.add(_identity(line))
        for logger in [self._lines, *self._others]:
            self._guard(logger, lambda logger=logger: logger.write(line))

    def _show(self, how: str, text: str) -> None:
        if not self._quiet:
            self._guard(self._terminal, lambda: getattr(self._terminal, how)(text))

    def _guard(self, logger: Any, act: Any) -> Any:
        """Does `act`; where it fails, says so once. All but the lines are then left out for good."""
        if logger.name in self._failed and logger is not self._lines:
            return None
        try:
            return act()
        except WorkdirLocked:
            raise
        except Exception as error:
            if logger.name not in self._failed:
                self._failed.add(logger.name)
                reason = (getattr(error, "strerror", "") or str(error).strip() or type(error).__name__).splitlines()[0]
                later = "its lines wait in memory" if logger is self._lines else "training goes on without it"
                _warn(f"report: {logger.name} failed ({reason}); {later}")
                if logger is self._terminal:
                    _forsake_output()
                elif logger is not self._lines:
                    with contextlib.suppress(Exception):
                        logger.close()
            return None

    def _shown(self, metrics: Mapping[str, Any]) -> list[str]:
        names = [name for name in dict.fromkeys(("loss", self._metric)) if name in metrics]
        return names or [name for name, value in metrics.items() if readable(value)][:2]


class _File:
    """A file that is written at once, as the guard knows it: nothing of it stays open."""

    def __init__(self, name: str):
        self.name = name

    def close(self) -> None:
        """Has nothing to close."""


_TABLES, _CURVES, _PAGE = _File("the file of tables"), _File("curves.png"), _File("report.html")


class _Progress:
    """The clocks of a run, and the line that tells them."""

    def __init__(self, total: int):
        self._total = total
        self._compiled = 0.0
        self._unsaid = 0.0  # of the compiling
        self._fields: list[str] = []
        self.start(0)

    def start(self, step: int) -> None:
        self._began = self._timed = step
        self._start = time.monotonic()
        self._apart = 0.0  # seconds since then that are no part of the speed
        self._steps, self._seconds = 0, 0.0  # since the last report

    def back_to(self, step: int) -> None:
        """The time spent stays spent; the steps are to be done again."""
        lost = max(0, self._timed - step)
        self._timed -= lost
        self._began -= lost
        self._steps, self._seconds = 0, 0.0

    def compiled(self, seconds: float, steps: int) -> None:
        self._compiled += seconds
        self._unsaid += seconds
        self._apart += seconds
        self._began += steps
        self._timed += steps

    def trained(self, step: int, seconds: float) -> None:
        self._steps += step - self._timed
        self._seconds += seconds
        self._timed = step

    def speed(self, batch: int) -> dict[str, float]:
        """What `time` of a line holds, of the steps since the last one."""
        found = {}
        if self._steps > 0 and self._seconds > 0:
            found["examples_per_second"] = round(self._steps * batch / self._seconds, 1)
            found["step_ms"] = round(1000 * self._seconds / self._steps, 4)
            found["seconds"] = round(self._seconds, 6)
        if self._unsaid:
            found["compile_seconds"], self._unsaid = round(self._unsaid, 3), 0.0
        self._steps, self._seconds = 0, 0.0
        return found

    def text(self, step: int, metrics: Mapping[str, Any] = _NONE, speed: Mapping[str, float] = _NONE) -> str:
        """Where the run is; metrics and speed stay those of the last report until the next."""
        if metrics:
            self._fields = [f"{name} {readable(value)}" for name, value in metrics.items()]
        if metrics and "step_ms" in speed:
            self._fields += [f"{speed['examples_per_second']:,.0f} examples/s", f"{_three(speed['step_ms'])} ms/step"]
        parts = [f"step {step:>{len(str(self._total))}}/{self._total}", *self._fields]
        if step > self._began:
            left = (self._total - step) * self._training() / (step - self._began)
            parts.append(f"{_clock(left)} left")
        return "  ".join(parts)

    def story(self) -> str:
        return f"{self._training():.1f} s training and measuring, {self._compiled:.1f} s compiling and first step"

    def _training(self) -> float:
        return max(0.0, time.monotonic() - self._start - self._apart)


def _warn(text: str) -> None:
    with contextlib.suppress(OSError, ValueError):
        print(plain(text), file=sys.stderr, flush=True)


def _write(tables: Mapping[str, np.ndarray], path: Path) -> None:
    content = io.BytesIO()
    np.savez_compressed(content, **tables)
    try:
        write_file(path, content.getvalue())
    except OSError as error:
        raise OSError(error.errno, f"{path}: {error.strerror}") from error


def _draw(path: Path, names: Sequence[str]) -> None:
    picture = path.with_suffix(".png")
    try:
        draw_tables(arrays_in(path), picture, names=names)
    except (ArchiveError, OSError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ArchiveError(f"{picture} can't be drawn of {path.name}: {reason}") from None


def _identity(line: Mapping[str, Any]) -> tuple:
    """What makes two lines the same: their split; of an event everything but the time."""
    split = split_of(line)
    return (line["step"], split) if split else tuple((k, str(v)) for k, v in sorted(line.items()) if k != "time")


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


def _three(value: float) -> str:
    """Three digits that matter, of a number that lives between 0.01 and 10,000."""
    return f"{value:,.0f}" if value >= 100 else f"{value:#.3g}"


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
