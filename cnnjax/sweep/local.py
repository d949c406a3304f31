"""A sweep from its points to the end: packs first, then what has to train alone; the same call goes on."""

import contextlib
import dataclasses
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from cnnjax.runs.signals import Stop
from cnnjax.runs.workdir import WorkdirLocked, hold, record_error, write_status
from cnnjax.sweep.decisions import LENIENT, Policy
from cnnjax.sweep.folder import note_strategy, strategy_of, write_folder
from cnnjax.sweep.members import out_of_memory
from cnnjax.sweep.points import Pack, Run, packs_of, resolved
from cnnjax.sweep.training import train_pack
from cnnjax.train import loop
from cnnjax.train.loop import Preempted

__all__ = ["PointFailure", "SweepFailed", "attempt", "failure_of", "last_words", "run_packs", "run_sweep", "train_one"]


class SweepFailed(Exception):
    """Points of a sweep are dead; the others are complete."""

    exit_code = 1


@dataclasses.dataclass(frozen=True)
class PointFailure:
    """A point that failed as often as it was allowed to: the last words, and the end of its traceback."""

    name: str
    error: str
    story: str = ""
    locked: bool = False  # it is not dead: another process trains it


def run_sweep(
    config: Mapping,
    points: Sequence[Mapping],
    workdir: str | Path,
    *,
    strategy: str = "auto",
    most: int = 0,
    retries: int = 1,
    allow_changes: bool = False,
    say: Callable[[str], None] = print,
) -> list[PointFailure]:
    """Trains the points of a sweep in this process, each in a folder below `workdir`; those that are dead come out.

    `strategy` is how packs train (`turns`, `map`, `vmap`, `devices`, or the fastest), `most` their size (0: no limit).
    The same call again does what is missing.
    """
    runs = resolved(config, points, workdir, allow_changes=allow_changes)
    with hold(workdir):
        write_folder(workdir, runs)
        return run_packs(runs, workdir, strategy=strategy, most=most, retries=retries, say=say)


def run_packs(
    runs: Sequence[Run],
    workdir: str | Path,
    *,
    strategy: str = "auto",
    most: int = 0,
    retries: int = 1,
    say: Callable[[str], None] = print,
    policy: Policy = LENIENT,
) -> list[PointFailure]:
    """Trains what is missing of the points, pack by pack in this process; those that are dead come out."""
    dead = []
    packs = packs_of(runs, most=most)
    for number, pack in enumerate(packs, 1):
        if all(run.done for run in pack.runs):
            continue
        say(f"pack {number} of {len(packs)}: {len(pack.runs)} point{'s' if len(pack.runs) > 1 else ''}")
        dead += attempt(pack, workdir, strategy=strategy, retries=retries, say=say, policy=policy)
    return dead


def attempt(
    pack: Pack,
    workdir: str | Path,
    *,
    strategy: str,
    retries: int,
    say: Callable[[str], None],
    policy: Policy = LENIENT,
) -> list[PointFailure]:
    """Trains a pack as one program, then alone whatever it has left; those that are dead come out."""
    together = len(pack.runs) > 1 or (policy is not LENIENT and not pack.alone)  # the policy sees packs, also of one
    if together:
        _together(pack, workdir, strategy, say, policy)
    dead = []
    for run in pack.runs:
        if not run.done:
            if together:
                say(f"{run.name} trains alone")
            dead += train_one(run, retries=retries, say=say)
    return dead


def _together(pack: Pack, workdir: str | Path, strategy: str, say: Callable[[str], None], policy: Policy) -> None:
    """Trains a pack; where that fails, halves of it if memory was short; else its points are left to be tried alone."""
    try:
        with Stop() as stop:
            known = strategy_of(workdir, pack.runs, strategy)
            train_pack(
                pack,
                stop,
                strategy=known,
                say=say,
                policy=policy,
                chosen=lambda strategy: note_strategy(workdir, pack.runs, strategy),
            )
    except Preempted:
        raise
    except Exception as error:
        if out_of_memory(error) and len(pack.runs) > 2:
            half = len(pack.runs) // 2
            say(f"{len(pack.runs)} members don't fit in memory; trying {half} at a time")
            for runs in (pack.runs[:half], pack.runs[half:]):
                _together(dataclasses.replace(pack, runs=runs), workdir, strategy, say, policy)
            return
        record_error(workdir, error)
        say(f"the pack failed ({type(error).__name__}: {_line(error)}); its points are tried alone")


def train_one(run: Run, *, retries: int, say: Callable[[str], None] = print) -> list[PointFailure]:
    """Trains a point by itself, from its checkpoint again where it fails; what it died of comes out."""
    for left in range(retries, -1, -1):
        try:
            loop.run(run.config, run.workdir, allow_changes=run.allow_changes)
            return []
        except Preempted:
            raise
        except WorkdirLocked as error:  # its files are another process's
            say(_line(error))
            return [PointFailure(run.name, str(error), locked=True)]
        except Exception as error:
            failure = error
            if not run.workdir.is_dir():
                run.workdir.mkdir(parents=True)
            record_error(run.workdir, error)
            if run.status.get("status") != "diverged":
                write_status(run.workdir, "failed", detail={"reason": f"{type(error).__name__}: {_line(error)}"})
            say(f"{run.name} failed: {_line(error)}" + (f"; {left} more tries" if left else ""))
    story = "".join(traceback.format_exception(failure))
    return [PointFailure(run.name, f"{type(failure).__name__}: {_line(failure)}", story)]


def failure_of(run: Run) -> PointFailure:
    """What the files of a point that is not done say of it."""
    status = run.status
    reason = status.get("reason", status.get("status", "never begun"))
    return PointFailure(run.name, reason, last_words(run.workdir / "error.log"))


def last_words(*logs: Path) -> str:
    """The last lines of the first of these files that has any."""
    for path in logs:
        with contextlib.suppress(OSError):
            lines = path.read_text(errors="replace").strip().splitlines()
            if lines:
                return "\n".join(lines[-12:])
    return ""


def _line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
