"""Checkpoints that survive what disks and schedulers do to them; the one file that knows orbax.

A checkpoint is a directory `checkpoints/<step>` that was written beside and renamed into place: it is there whole or
not at all. It holds every array of the state under its own name, and a manifest with the checksum of each array and
each file, so that a flipped bit is found where orbax alone would return it.
"""

import contextlib
import dataclasses
import errno
import glob
import logging
import math
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Collection, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from cnnjax.runs._leaves import broadcast, checksums, describe, difference, named, on_host, placed
from cnnjax.runs._manifest import Damaged, check_files, manifest_of, seal, sync

__all__ = ["CheckpointError", "Checkpoints"]

_FORMAT = 1
_STATE, _WRITING, _DELETING = "state", ".writing", ".deleting"
_NONE: Mapping[str, float] = MappingProxyType({})
_NAME = re.compile(r"(\d+)(?:-(\d+))?")  # a step; saved again, `<step>-1`


class CheckpointError(ValueError):
    """A checkpoint can't be written, or none can be read."""

    exit_code = 5


@dataclasses.dataclass(frozen=True, order=True)
class _Entry:
    step: int
    version: int
    path: Path = dataclasses.field(compare=False)


class Checkpoints:
    """The checkpoints of one workdir: the last `keep`, and the best by `metric` where one is named.

    A context manager; leaving it waits for the save in flight. Where several processes train, process 0 alone reads
    and writes, restore hands its arrays to the others, and `save` and `restore` are called by all.
    """

    def __init__(self, workdir: str | Path, *, keep: int = 2, metric: str = "", higher: bool = True):
        if keep < 1:
            raise ValueError(f"checkpoint.keep is {keep}; it must be ≥ 1")
        self._root = Path(workdir).absolute() / "checkpoints"
        self._keep, self._metric, self._higher = keep, metric, higher
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._saving: Future | None = None
        self._failure: CheckpointError | None = None
        self._swept = False
        self._metrics: dict[Path, Mapping[str, float]] = {}

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        # While another error is on its way, a failed save must not take its place.
        if kind is None:
            self.close()
        else:
            with contextlib.suppress(CheckpointError):
                self.close()

    def save(
        self,
        step: int,
        tree: Any,
        metrics: Mapping[str, float] = _NONE,
        *,
        log: Mapping[str, int] = _NONE,
        wait: bool = False,
    ) -> None:
        """Copies `tree` to the host and writes it from a thread; `wait` returns once it is on the disk.

        `log` is the mark of `metrics.jsonl`, which is on the disk before the checkpoint is.
        The arrays may be donated as soon as this returns. A second save waits for the first. A failure is raised by
        the next `poll`, `wait` or `close`, and leaves the checkpoints before it as they were.
        """
        if jax.process_index() == 0:
            self._settle()
            arrays = on_host(named(tree))
            self._saving = self._writer.submit(self._write, int(step), arrays, _numbers(metrics), dict(log))
        if wait:
            self.wait()

    def poll(self) -> None:
        """Raises CheckpointError once if a save has failed; costs nothing otherwise, so call it every step."""
        if self._saving is not None and self._saving.done():
            self._settle()
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def wait(self) -> None:
        """Returns when the save in flight is on the disk; raises CheckpointError if it failed."""
        self._settle()
        self.poll()

    def close(self) -> None:
        """Waits for the save in flight and ends the thread that writes."""
        self._settle()
        self._writer.shutdown()
        self.poll()

    def steps(self) -> list[int]:
        """The steps that can be restored, in order; waits for the save in flight."""
        self._settle()
        return self._steps()

    def _steps(self) -> list[int]:
        return sorted({entry.step for entry in self._entries()})

    def best(self) -> int:
        """The step with the best `metric` of those kept (the first, where they tie); -1 if none has it."""
        self._settle()
        return self._best()

    def _best(self) -> int:
        sign = 1 if self._higher else -1
        scored = []
        for entry in self._entries():
            value = self._metrics_of(entry).get(self._metric, math.nan)
            if not math.isnan(value):
                scored.append((sign * value, -entry.step))
        return -max(scored)[1] if scored else -1

    def restore(self, like: Any, step: int = -1, *, without: Collection[str] = ()) -> tuple[int, Any, dict[str, float]]:
        """(step, tree, metrics) of the newest checkpoint that is whole, or of `step`; (0, like, {}) if there is none.

        The tree comes back with the structure, dtypes and sharding of `like`, on any number of devices and processes;
        branches of these names are left `without`, where `like` has nothing under them.
        A damaged checkpoint is renamed to `<step>.damaged` and the one before is used; a named step has no stand-in.
        """
        self._settle()
        like_leaves = named(like)
        found, failure = None, ""
        if jax.process_index() == 0:
            try:
                found = self._find(like_leaves, int(step), without)
            except CheckpointError as error:
                failure = str(error)
        head, arrays = broadcast(found, failure, like_leaves)
        if head["failure"]:
            raise CheckpointError(head["failure"])
        if head["step"] < 0:
            return 0, like, {}
        leaves = [placed(arrays[name], leaf) for name, leaf in like_leaves.items()]
        tree = jax.tree_util.tree_unflatten(jax.tree_util.tree_structure(like), leaves)
        return head["step"], tree, _floats(head["metrics"])

    def log_at(self, step: int) -> dict[str, int]:
        """The mark of `metrics.jsonl` that the checkpoint at a step keeps; {} where it keeps none."""
        self._settle()
        for entry in sorted(self._entries(), reverse=True):
            if entry.step == step:
                with contextlib.suppress(Damaged):
                    return manifest_of(entry.path).get("log", {})
        return {}

    def truncate(self, step: int) -> None:
        """Removes every checkpoint after `step`: the way back from a path that was given up."""
        self._settle()
        if jax.process_index() == 0:
            for entry in self._entries():
                if entry.step > step:
                    self._remove(entry.path)

    # Writing, in the thread.

    def _settle(self) -> None:
        """Waits for the save in flight and keeps its error for `poll`."""
        saving, self._saving = self._saving, None
        if saving is not None:
            error = saving.exception()
            if isinstance(error, CheckpointError):
                self._failure = error
            elif error is not None:
                raise error

    def _write(
        self, step: int, arrays: dict[str, np.ndarray], metrics: dict[str, float | None], log: dict[str, int]
    ) -> None:
        versions = []
        try:
            self._root.mkdir(parents=True, exist_ok=True)
            self._sweep()
            versions = [entry.version for entry in self._entries() if entry.step == step]
            path = self._root / (f"{step}-{max(versions) + 1}" if versions else f"{step}")
            beside = path.with_name(path.name + _WRITING)
            beside.mkdir()
            filled = {name: array for name, array in arrays.items() if array.size}  # orbax refuses empty arrays
            with _quiet(), _plain(beside) as directory:
                _orbax().save(directory / _STATE, args=ocp.args.PyTreeSave(filled))
            head = {"format": _FORMAT, "step": step, "metrics": metrics, "leaves": checksums(arrays)}
            if log:
                head["log"] = log
                sync(self._root.parent / "metrics.jsonl")
            seal(beside, head)
            beside.rename(path)
            self._metrics[path] = _floats(metrics)
            self._prune()
        except Exception as error:
            for path in self._root.glob(f"*{_WRITING}"):
                shutil.rmtree(path, ignore_errors=True)
            self._swept = False  # orbax's own threads may still be writing there
            left = self._steps()
            rest = f"the checkpoint at step {left[-1]} is intact" if left else "there is no checkpoint yet"
            raise CheckpointError(
                f"the checkpoint at step {step} could not be saved in {self._root}: {_reason(error)}; {rest}"
            ) from error

    def _prune(self) -> None:
        entries = sorted(self._entries())
        newest = {entry.step: entry for entry in entries}
        kept = {*sorted(newest)[-self._keep :], self._best()}
        for entry in entries:
            if entry.step not in kept or newest[entry.step] != entry:
                self._remove(entry.path)

    def _remove(self, path: Path) -> None:
        """Renames first, so that a kill in the middle leaves no half of a checkpoint under its name."""
        doomed = path.with_name(path.name + _DELETING)
        path.rename(doomed)
        shutil.rmtree(doomed)
        self._metrics.pop(path, None)

    def _sweep(self) -> None:
        """Removes what killed processes left half-written; only a writer may, for it alone holds the workdir."""
        if not self._swept:
            for path in self._root.iterdir():
                if path.name.endswith((_WRITING, _DELETING)):
                    shutil.rmtree(path)
            self._swept = True

    # Reading.

    def _entries(self) -> list[_Entry]:
        found = []
        if self._root.is_dir():
            for path in self._root.iterdir():
                match = _NAME.fullmatch(path.name)
                if match and path.is_dir():
                    found.append(_Entry(int(match[1]), int(match[2] or 0), path))
        return found

    def _metrics_of(self, entry: _Entry) -> Mapping[str, float]:
        if entry.path not in self._metrics:
            try:
                self._metrics[entry.path] = _floats(manifest_of(entry.path)["metrics"])
            except Damaged:
                return _NONE
        return self._metrics[entry.path]

    def _find(self, like: dict[str, Any], step: int, without: Collection[str]):
        """(step, arrays, metrics) of the checkpoint to restore, or nothing where there never was one."""
        entries = sorted(self._entries(), reverse=True)
        if step >= 0:
            entries = [entry for entry in entries if entry.step == step]
            if not entries:
                held = ", ".join(map(str, self._steps())) or "none"
                raise CheckpointError(f"there is no checkpoint at step {step} in {self._root}; it holds {held}")
        for entry in entries:
            try:
                manifest = manifest_of(entry.path)
                self._check_fit(manifest, like, entry, without)
                newer = {name: leaf for name, leaf in like.items() if _is_newer(name, manifest)}
                return entry.step, self._arrays(entry, manifest) | on_host(newer), manifest["metrics"]
            except Damaged as damage:
                if entry.path.is_dir():
                    self._set_aside(entry, str(damage))
                    continue
            except CheckpointError:
                raise
            except Exception as error:  # every byte is as it was written: nothing is wrong with the checkpoint
                if entry.path.is_dir():
                    raise CheckpointError(f"{entry.path} can't be read: {_reason(error)}") from error
            return self._find(like, step, without)  # the process that trains has replaced it meanwhile
        damaged = sorted(path.name for path in self._root.glob("*.damaged*"))
        if step >= 0 or damaged:
            held = ", ".join(map(str, self._steps())) or "none"
            raise CheckpointError(
                f"no usable checkpoint {f'at step {step} ' if step >= 0 else ''}in {self._root}: damaged are "
                f"{', '.join(damaged)}, whole {held}\nrestore them from a copy, or delete the directory to start again"
            )
        return None

    def _check_fit(self, manifest: dict, like: dict[str, Any], entry: _Entry, without: Collection[str]) -> None:
        if manifest["format"] > _FORMAT:
            raise CheckpointError(
                f"{entry.path} was written by a newer cnnjax (format {manifest['format']}, this one reads up to "
                f"{_FORMAT}); update cnnjax to restore it"
            )
        leaves = {name: leaf for name, leaf in manifest["leaves"].items() if name.partition("/")[0] not in without}
        saved = {name: (tuple(leaf["shape"]), leaf["dtype"]) for name, leaf in leaves.items()}
        wanted = {name: describe(leaf) for name, leaf in like.items() if not _is_newer(name, manifest)}
        text = difference(saved, wanted)
        if text:
            raise CheckpointError(
                f"the checkpoint at step {entry.step} in {self._root} is of another state: {text}\n"
                "restore it with the config it was trained with, or train in another workdir"
            )

    def _arrays(self, entry: _Entry, manifest: dict) -> dict[str, np.ndarray]:
        leaves = manifest["leaves"]
        arrays = {name: np.zeros(leaf["shape"], jnp.dtype(leaf["dtype"])) for name, leaf in leaves.items()}
        filled = {name: 0 for name, array in arrays.items() if array.size}
        as_numpy = {name: ocp.RestoreArgs(restore_type=np.ndarray) for name in filled}
        check_files(entry.path, manifest)
        with _quiet(), _plain(entry.path) as directory:
            arrays |= _orbax().restore(
                directory / _STATE, args=ocp.args.PyTreeRestore(item=filled, restore_args=as_numpy)
            )
        for name, leaf in checksums(arrays).items():
            if leaf != leaves[name]:
                raise Damaged(f"{name} does not match its checksum")
        return arrays

    def _set_aside(self, entry: _Entry, reason: str) -> None:
        name, count = entry.path.with_name(f"{entry.path.name}.damaged"), 1
        while name.exists():
            count += 1
            name = entry.path.with_name(f"{entry.path.name}.damaged-{count}")
        try:
            entry.path.rename(name)
            where = f"set aside as {name.name}"
        except OSError as error:
            where = f"left where it is ({_reason(error)})"
        print(f"the checkpoint at step {entry.step} is damaged: {reason}; {where}", file=sys.stderr, flush=True)


def _orbax() -> ocp.Checkpointer:
    """Orbax for this process alone: no barriers, for no other process takes part."""
    process = jax.process_index()
    alone = ocp.options.MultiprocessingOptions(
        primary_host=process, active_processes={process}, barrier_sync_key_prefix="cnnjax"
    )
    handler = ocp.PyTreeCheckpointHandler(multiprocessing_options=alone)
    return ocp.Checkpointer(handler, multiprocessing_options=alone)


def _numbers(metrics: Mapping[str, float]) -> dict[str, float | None]:
    """JSON knows no NaN and no infinity."""
    numbers = {name: float(value) for name, value in metrics.items()}
    return {name: value if math.isfinite(value) else None for name, value in numbers.items()}


def _floats(metrics: Mapping[str, float | None]) -> dict[str, float]:
    return {name: math.nan if value is None else value for name, value in metrics.items()}


def _reason(error: BaseException) -> str:
    """The operating system's words, where they are anywhere in the error; else its first line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = str(error) or type(error).__name__
    for code in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EFBIG, errno.EIO):
        words = os.strerror(code)
        if words in text:
            return words
    return text.splitlines()[0][:200]


@contextlib.contextmanager
def _quiet():
    """Keeps orbax's notes to itself off the terminal, and the traces of errors that it raises as well."""
    logger = logging.getLogger("absl")

    def wanted(record):
        return "orbax" not in record.pathname

    logger.addFilter(wanted)
    try:
        yield
    finally:
        logger.removeFilter(wanted)


@contextlib.contextmanager
def _plain(directory: Path):
    """`directory` by a name without `*?[`: orbax globs in it, and would lose the arrays of `runs/lr[0.1]` unsaid."""
    if glob.escape(str(directory)) == str(directory):
        yield directory
        return
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as alias:
        link = Path(alias) / "checkpoint"
        link.symlink_to(directory)
        yield link


def _is_newer(name: str, manifest: dict) -> bool:
    """Whether the release which wrote the checkpoint did not have this: a numeric option, whose default changes
    nothing, or the memory of evaluations, of which none is counted then."""
    return name.startswith(("hparams/", "watch/")) and name not in manifest["leaves"]
