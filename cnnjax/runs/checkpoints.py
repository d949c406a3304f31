"""Checkpoints that survive what disks and schedulers do to them; the one file that knows orbax.

A checkpoint is a directory `checkpoints/<step>` that was written beside and renamed into place: it is there whole or
not at all. It holds every array of the state under its own name, and a manifest with the checksum of each array and
each file, so that a flipped bit is found where orbax alone would return it.
"""

import contextlib
import glob
import logging
import math
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from cnnjax.refusals import plain
from cnnjax.runs._disk import reason, remove, sync
from cnnjax.runs._entries import Entry, entries
from cnnjax.runs._leaves import broadcast, checksums, describe, difference, named, on_host, placed
from cnnjax.runs.manifest import Damaged, check_files, floats, manifest_of, numbers, seal

__all__ = ["CheckpointError", "Checkpoints"]

_FORMAT = 1
_STATE, _WRITING, _DELETING = "state", ".writing", ".deleting"
_NONE: Mapping[str, Any] = MappingProxyType({})


class CheckpointError(ValueError):
    """A checkpoint can't be written, or none can be read."""

    exit_code = 5


class Checkpoints:
    """The checkpoints of one workdir: the last `keep`, and the best by `metric` where one is named.

    Each says what run it is of: `record`, as JSON knows it. A context manager; leaving it waits for the save in flight.
    Where several processes train, process 0 alone reads and writes, restore hands its arrays to the others, and `save`
    and `restore` are called by all.
    """

    def __init__(
        self,
        workdir: str | Path,
        *,
        keep: int = 2,
        metric: str = "",
        higher: bool = True,
        record: Mapping[str, Any] = _NONE,
    ):
        if keep < 1:
            raise ValueError(f"checkpoint.keep is {keep}; it must be ≥ 1")
        self._root = Path(workdir).absolute() / "checkpoints"
        self._keep, self._metric, self._higher = keep, metric, higher
        self._record = dict(record)
        self.longest = 0.0  # seconds that a save took
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
        self, step: int, tree: Any, metrics: Mapping[str, float] = _NONE, *,
        log: Mapping[str, int] = _NONE, wait: bool = False,
    ) -> None:  # fmt: skip
        """Copies `tree` to the host and writes it from a thread; `wait` returns once it is on the disk.

        `log` is the mark of `metrics.jsonl`, which is on the disk before the checkpoint is.
        The arrays may be donated as soon as this returns. A second save waits for the first. A failure is raised by
        the next `poll`, `wait` or `close`, and leaves the checkpoints before it as they were.
        """
        if jax.process_index() == 0:
            self._settle()
            head = {"format": _FORMAT, "step": int(step), "metrics": numbers(metrics)}
            head |= {"run": self._record, "log": dict(log)}
            self._saving = self._writer.submit(self._write, head, on_host(named(tree)))
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
        return sorted({entry.step for entry in entries(self._root)})

    def record(self, step: int) -> dict[str, Any]:
        """What the checkpoint at a step says of the run that it is of; {} of releases whose checkpoints say nothing."""
        return self._manifest_at(step).get("run", {})

    def _manifest_at(self, step: int) -> dict[str, Any]:
        found = max((entry for entry in entries(self._root) if entry.step == step), default=None)
        return manifest_of(found.path) if found else {}

    def best(self) -> int:
        """The step with the best `metric` of those kept (the first, where they tie); -1 if none has it.

        Which of them are damaged so that nobody knows how good they are is said.
        """
        self._settle()
        return self._best(_say)

    def _best(self, say: Callable[[str], None] = lambda text: None) -> int:
        sign = 1 if self._higher else -1
        scored = []
        for entry in sorted(entries(self._root)):
            value = self._metrics_of(entry, say).get(self._metric, math.nan)
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
        return head["step"], tree, floats(head["metrics"])

    def log_at(self, step: int) -> dict[str, int]:
        """The mark of `metrics.jsonl` that the checkpoint at a step keeps; {} where it keeps none."""
        self._settle()
        with contextlib.suppress(Damaged):  # it is told when it is restored
            return self._manifest_at(step).get("log", {})
        return {}

    def truncate(self, step: int) -> None:
        """Removes every checkpoint after `step`: the way back from a path that was given up."""
        self._settle()
        if jax.process_index() == 0:
            for entry in entries(self._root):
                if entry.step > step:
                    self._remove(entry.path)

    def sweep(self) -> None:
        """Removes what killed processes left half-written or half-removed; for the one that holds the workdir alone."""
        if not self._swept and jax.process_index() == 0:
            for path in self._root.iterdir() if self._root.is_dir() else ():
                if path.name.endswith((_WRITING, _DELETING)):
                    remove(path)
            self._swept = True

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

    def _write(self, head: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        step, versions, began = head["step"], [], time.monotonic()
        try:
            if not self._root.is_dir():
                self._root.mkdir(parents=True)
                sync(self._root.parent)
            self.sweep()
            versions = [entry.version for entry in entries(self._root) if entry.step == step]
            path = self._root / (f"{step}-{max(versions) + 1}" if versions else f"{step}")
            beside = path.with_name(path.name + _WRITING)
            beside.mkdir()
            filled = {name: array for name, array in arrays.items() if array.size}  # orbax refuses empty arrays
            with _quiet(), _plain(beside) as directory:
                _orbax().save(directory / _STATE, args=ocp.args.PyTreeSave(filled))
            if (lines := self._root.parent / "metrics.jsonl").exists():
                sync(lines)
                sync(lines.parent)
            seal(beside, {**head, "leaves": checksums(arrays)})
            beside.rename(path)
            sync(self._root)  # before an older one goes: a loss of power must not take both
            self._metrics[path] = floats(head["metrics"])
            self._prune()
            self.longest = max(self.longest, time.monotonic() - began)
        except Exception as error:
            for path in self._root.glob(f"*{_WRITING}"):
                shutil.rmtree(path, ignore_errors=True)
            self._swept = False  # orbax's own threads may still be writing there
            left = self._steps()
            rest = f"the checkpoint at step {left[-1]} is intact" if left else "there is no checkpoint yet"
            raise CheckpointError(
                f"the checkpoint at step {step} could not be saved in {self._root}: {reason(error)}; {rest}"
            ) from error

    def _prune(self) -> None:
        there = sorted(entries(self._root))
        newest = {entry.step: entry for entry in there}
        kept = {*sorted(newest)[-self._keep :], self._best()}
        for entry in there:
            if entry.step not in kept or newest[entry.step] != entry:
                self._remove(entry.path)

    def _remove(self, path: Path) -> None:
        """Renames first, so that a kill in the middle leaves no half of a checkpoint under its name."""
        doomed = path.with_name(path.name + _DELETING)
        path.rename(doomed)
        remove(doomed)
        self._metrics.pop(path, None)

    # Reading.

    def _metrics_of(self, entry: Entry, say: Callable[[str], None]) -> Mapping[str, float]:
        if entry.path not in self._metrics:
            try:
                self._metrics[entry.path] = floats(manifest_of(entry.path)["metrics"])
            except Damaged as damage:
                say(f"the checkpoint at step {entry.step} is damaged: {damage}; the best is one of the others")
                return _NONE
        return self._metrics[entry.path]

    def _find(self, like: dict[str, Any], step: int, without: Collection[str]):
        """(step, arrays, metrics) of the checkpoint to restore, or nothing where there never was one."""
        tried = sorted(entries(self._root), reverse=True)
        if step >= 0:
            tried = [entry for entry in tried if entry.step == step]
            if not tried:
                held = ", ".join(map(str, self._steps())) or "none"
                raise CheckpointError(f"there is no checkpoint at step {step} in {self._root}; it holds {held}")
        for entry in tried:
            try:
                manifest = manifest_of(entry.path)
                self._check_fit(manifest, like, entry, without)
                newer = {name: leaf for name, leaf in like.items() if _is_newer(name, manifest)}
                return entry.step, self._arrays(entry, manifest) | on_host(newer), manifest["metrics"]
            except Damaged as damage:
                if entry.path.exists():
                    self._set_aside(entry, str(damage))
                    continue
            except CheckpointError:
                raise
            except Exception as error:  # every byte is as it was written: nothing is wrong with the checkpoint
                if entry.path.exists():
                    raise CheckpointError(f"{entry.path} can't be read: {reason(error)}") from error
            return self._find(like, step, without)  # the process that trains has replaced it meanwhile
        damaged = sorted(path.name for path in self._root.glob("*.damaged*"))
        if step >= 0 or damaged:
            held = ", ".join(map(str, self._steps())) or "none"
            raise CheckpointError(
                f"no usable checkpoint {f'at step {step} ' if step >= 0 else ''}in {self._root}: damaged are "
                f"{', '.join(damaged)}, whole {held}\nrestore them from a copy, or delete the directory to start again"
            )
        return None

    def _check_fit(self, manifest: dict, like: dict[str, Any], entry: Entry, without: Collection[str]) -> None:
        if manifest["format"] > _FORMAT:
            raise CheckpointError(
                f"{entry.path} was written by a newer cnnjax (format {manifest['format']}, this one reads up to "
                f"{_FORMAT}); update cnnjax to restore it"
            )
        if manifest["step"] != entry.step:  # nothing is lost, so it is not set aside
            raise CheckpointError(
                f"{entry.path} holds the state of step {manifest['step']}: it was renamed, or is a copy\n"
                f"rename it to {manifest['step']}, or move it out of {entry.path.parent}"
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

    def _arrays(self, entry: Entry, manifest: dict) -> dict[str, np.ndarray]:
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

    def _set_aside(self, entry: Entry, damage: str) -> None:
        name, count = entry.path.with_name(f"{entry.path.name}.damaged"), 1
        while name.exists():
            count += 1
            name = entry.path.with_name(f"{entry.path.name}.damaged-{count}")
        try:
            entry.path.rename(name)
            where = f"set aside as {name.name}"
        except OSError as error:
            where = f"left where it is ({reason(error)})"
        _say(f"the checkpoint at step {entry.step} is damaged: {damage}; {where}")


def _say(text: str) -> None:
    print(plain(text), file=sys.stderr, flush=True)


def _orbax() -> ocp.Checkpointer:
    """Orbax for this process alone: no barriers, for no other process takes part."""
    process = jax.process_index()
    alone = ocp.options.MultiprocessingOptions(
        primary_host=process, active_processes={process}, barrier_sync_key_prefix="cnnjax"
    )
    handler = ocp.PyTreeCheckpointHandler(multiprocessing_options=alone)
    return ocp.Checkpointer(handler, multiprocessing_options=alone)


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
