"""The one training loop: from a config to a trained network in a workdir, through whatever happens on the way.

It goes over members: a run by itself is one, a pack of a sweep many. What they do each in their own way, when updates
are not finite or after an evaluation, stands in `Callbacks`.
"""

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NoReturn

import jax
import numpy as np

from cnnjax import config as sections
from cnnjax.data.stream import orders, patiently
from cnnjax.runs.checkpoints import CheckpointError
from cnnjax.runs.processes import by_all, by_first, on_lost
from cnnjax.runs.provenance import check_same_run, check_same_start, record_facts, record_of
from cnnjax.runs.signals import Stop
from cnnjax.runs.workdir import hold
from cnnjax.train.job import PreparedRun, prepare
from cnnjax.train.members import Feed, Member, PackState
from cnnjax.train.state import State
from cnnjax.train.trained import Trained

__all__ = ["Callbacks", "Diverged", "Preempted", "RollBack", "run", "save_members", "train_members"]


_CLOCK = "train.minutes"  # who asks for the end, where no signal does


class Preempted(Exception):
    """The run was told to stop, and has saved its state."""

    exit_code = 75


class Diverged(Exception):
    """Updates that are not finite came back after every roll-back."""

    exit_code = 4


def _silent(prepared: PreparedRun, workdir: Path) -> str:
    return ""


def _nothing(trained: Trained) -> None:
    """Adds nothing to a run that is done."""


def run(
    config: Mapping,
    workdir: str | Path,
    *,
    allow_changes: bool = False,
    describe: Callable[[PreparedRun, Path], str] = _silent,
    conclude: Callable[[Trained], None] = _nothing,
) -> Trained:
    """The trained network of a config, from wherever its workdir stands: new, interrupted, or complete.

    A workdir holds one run: a config that changes its result is refused unless `allow_changes`. What `describe` says of
    it is told before anything compiles; `conclude` may add to the workdir of the run that is done, and can't fail it.
    """
    sections.validate(config)
    check_same_start(config)
    with hold(workdir), Stop() as stop:
        prepared = by_all(lambda: prepare(config))
        record = record_of(config, prepared.source.identity)
        changes = check_same_run(workdir, record, allow_changes=allow_changes)
        record_facts(workdir, prepared.facts, selects=prepared.selects)
        member = Member(prepared, Path(workdir))
        on_lost(member.recorder.broken_off)
        try:
            if story := describe(prepared, member.workdir):
                member.note(story)
            pack = PackState(prepared, [member], "turns", shared=True)
            step = _resume(pack, changes)
            with contextlib.closing(Feed([member], shared=True)) as feed:
                (metrics,) = train_members(pack, feed, step, stop, RollBack())
            trained = Trained(prepared.config, Path(workdir), prepared, pack.states[0], metrics)
            member.recorder.report.conclude(lambda: conclude(trained))
            return trained
        except Exception as error:
            if not isinstance(error, Preempted | Diverged):
                member.recorder.status("failed", 0, {"reason": f"{type(error).__name__}: {error}"})
            raise
        finally:
            member.recorder.close()


def _resume(pack: PackState, changes: str) -> int:
    """Puts a run where its newest usable checkpoint stands, cuts its report to fit, and gives the step."""
    (member,) = pack.members
    step, state = member.newest()
    member.recorder.cut(step)
    if step:
        member.note(f"resumed at step {step} of {pack.plan.steps}")
    if changes:
        member.note(changes)
    pack.begin([state])
    return int(state.step)


class Callbacks:
    """What solo runs, packs and populations do each in their own way; this one lets all members be.

    `lost` and `metrics` have a place for every member of the pack, the idle ones too.
    """

    def lost(self, pack: PackState, step: int, lost: Sequence[bool]) -> int:
        """Sees to the members whose updates are not finite any more; gives the step from which all go on."""
        return step

    def evaluated(self, pack: PackState, step: int, metrics: Sequence[Mapping]) -> None:
        """Is told what an evaluation found."""

    def decided(
        self, pack: PackState, step: int, metrics: Sequence[Mapping], lost: Sequence[bool]
    ) -> tuple[Sequence[Mapping], Sequence[bool]]:
        """Ends or exchanges members after any evaluation but the last; gives metrics and `lost` as they then are."""
        return metrics, lost

    def stopped(self, pack: PackState, step: int) -> None:
        """Is told, at a cadence, that the host has done its work."""


def train_members(pack: PackState, feed: Feed, step: int, stop: Stop, callbacks: Callbacks) -> list[Mapping]:
    """Steps until the last, at each cadence in this order: report, evaluate, save; then every workdir is complete.

    What comes out are the last metrics of the members that came so far, by split. A host reads ahead of the device by
    two dispatches at most.
    """
    plan = pack.plan
    pack.clock.start(stop.began)
    for member in pack.active:
        member.recorder.report.start(step)
    metrics: Sequence[Mapping] = [{}] * len(pack.members)
    if step and _due(plan, step, plan.evaluate) and not _measured(pack, step):  # it was stopped before, or meanwhile
        metrics = _looked_at(pack, step, stop, callbacks, [False] * len(pack.members))
    finished = _stopped_early(pack, step, metrics, stop)
    first, before, began = True, None, time.perf_counter()
    while step < plan.steps and pack.active:
        _heed(pack, step, stop)
        _tell_failed_saves(pack)
        count = min(plan.dispatch, plan.next_stop(step) - step)
        batches = feed.batches(pack.members, step + pack.skipped, count, _asking(pack, step, stop))
        marker = pack.advance(batches, count)
        step += count
        if first:
            jax.block_until_ready(marker)
            for member in pack.active:
                member.recorder.report.compiled(time.perf_counter() - began, steps=count)
            first, began = False, time.perf_counter()
        elif before is not None:
            jax.block_until_ready(before)
        before = marker
        if step != plan.next_stop(step - 1):
            for member in pack.active:
                member.recorder.report.live(step)
            continue
        step = _at_stop(pack, step, began, stop, callbacks, finished)
        began = time.perf_counter()
    return finished + _finish(pack, step, pack.active, stop)


def _at_stop(pack: PackState, step: int, began: float, stop: Stop, callbacks: Callbacks, finished: list) -> int:
    """What the host does at a cadence, while the clock of the training stands still; the step to go on from.

    The last metrics of members that end here go to `finished`.
    """
    plan, light = pack.plan, pack.light()
    seconds = time.perf_counter() - began
    lost: Sequence[bool] = [int(state.streak) >= plan.nonfinite for state in light]
    if any(gone and not member.idle for member, gone in zip(pack.members, lost, strict=True)):
        again = callbacks.lost(pack, step, lost)
        if again != step:
            return again
    for member, state, gone in zip(pack.members, light, lost, strict=True):
        if not member.idle and not gone:
            member.recorder.report.trained(step, seconds)
            if _due(plan, step, plan.report):
                member.recorder.train(step, state)
    if _due(plan, step, plan.report):
        pack.clear_sums()
    metrics = _looked_at(pack, step, stop, callbacks, lost)
    finished += _stopped_early(pack, step, metrics, stop)
    callbacks.stopped(pack, step)
    return step


def _looked_at(pack: PackState, step: int, stop: Stop, callbacks: Callbacks, lost: Sequence[bool]) -> Sequence[Mapping]:
    """Evaluates, decides and saves where this is due, but for members that are lost; their metrics come out."""
    plan, metrics = pack.plan, [{}] * len(pack.members)
    if _due(plan, step, plan.evaluate):
        metrics = _evaluate(pack, step, stop, callbacks)
        if step < plan.steps:
            metrics, lost = callbacks.decided(pack, step, metrics, lost)
    if _due(plan, step, plan.save):
        save_members(pack, step, metrics, lost)
    return metrics


def _due(plan, step: int, every: int) -> bool:
    return step % every == 0 or step == plan.steps


def _measured(pack: PackState, step: int) -> bool:
    return all(member.recorder.report.has(step, member.recorder.measured) for member in pack.active)


def _evaluate(pack: PackState, step: int, stop: Stop, callbacks: Callbacks) -> list[dict[str, float]]:
    """Every member's numbers on the eval split: of the averages where they are kept, and of the parameters."""
    results = pack.evaluate(pack.prepared.source.eval, _asking(pack, step, stop))
    metrics = [
        {} if member.idle else member.recorder.evaluated(step, member.recorder.measured, found)
        for member, found in zip(pack.members, results, strict=True)
    ]
    pack.remember(step, metrics)
    callbacks.evaluated(pack, step, metrics)
    if any(member.recorder.hooks for member in pack.active):
        for member, state, found in zip(pack.members, pack.trees(), metrics, strict=True):
            if not member.idle:
                member.call_hooks(step, state, found)
    return metrics


def save_members(pack: PackState, step: int, metrics: Sequence[Mapping], left_out: Sequence[bool]) -> None:
    """Saves every member that still moves and is not left out."""
    _tell_failed_saves(pack)
    pack.clock.saved()
    for member, state, found, out in zip(pack.members, pack.trees(), metrics, left_out, strict=True):
        if not member.idle and not out:
            member.recorder.save(step, state, found)


def _tell_failed_saves(pack: PackState) -> None:
    """Says that a save has failed (a full disk, say) and goes on: the one before is whole, the next may work."""
    for member in pack.active:
        try:
            member.recorder.checkpoints.poll()
        except CheckpointError as error:
            member.note(str(error))


def _heed(pack: PackState, step: int, stop: Stop) -> None:
    """Stops where a signal asked any process for it, or the clock; saves in between where that is due.

    Several processes are asked together, at stops alone.
    """
    plan, clock = pack.plan, pack.clock
    if jax.process_count() > 1 and step != plan.next_stop(step - 1):
        return
    if clock.is_up(max((member.recorder.checkpoints.longest for member in pack.active), default=0.0)):
        stop.wanted, stop.name = True, _CLOCK
    _stop_if_signalled(pack, step, stop)
    if clock.saves and by_first(clock.save_is_due):
        save_members(pack, step, [{}] * len(pack.members), _saved_or_frozen(pack, step))


def _stop_if_signalled(pack: PackState, step: int, stop: Stop) -> None:
    """Stops where any process is asked to."""
    if stop.anywhere():
        _stop(pack, step, stop)


def _saved_or_frozen(pack: PackState, step: int) -> list[bool]:
    """Which members there is no use in saving; of one that is frozen, the last checkpoint is the one to go back to."""
    return [
        not member.idle and (int(state.streak) >= pack.plan.nonfinite or step in member.recorder.checkpoints.steps())
        for member, state in zip(pack.members, pack.light(), strict=True)
    ]


def _stop(pack: PackState, step: int, stop: Stop) -> NoReturn:
    """Saves what is to be saved, and ends."""
    save_members(pack, step, [{}] * len(pack.members), _saved_or_frozen(pack, step))
    steps = pack.plan.steps
    for member in pack.active:
        member.recorder.checkpoints.wait()
        member.recorder.status("interrupted", step, {"steps": steps})
    saved = "the state is saved" if len(pack.members) == 1 else "all members are saved"
    by = f"its {pack.clock.minutes:g} minutes (train.minutes)" if stop.name == _CLOCK else "a signal"
    raise Preempted(f"stopped by {by} at step {step} of {steps}; {saved}")


def _asking(pack: PackState, step: int, stop: Stop) -> Callable[[], None]:
    """What is called while data are waited for and between batches of an evaluation: it heeds a signal.

    Of several processes none may stop alone: they do so together at the next stop.
    """
    return patiently if jax.process_count() > 1 else partial(_stop_if_signalled, pack, step, stop)


def _stopped_early(pack: PackState, step: int, metrics: Sequence[Mapping], stop: Stop) -> list[Mapping]:
    """Ends the members whose patience is at its end before the last step; their last metrics come out."""
    if step >= pack.plan.steps or not any(member.recorder.watch.patience for member in pack.active):
        return []
    ended = []
    for member, state in zip(pack.members, pack.light(), strict=True):
        watch, sound = member.recorder.watch, int(state.streak) < pack.plan.nonfinite
        if not member.idle and sound and watch.exhausted(state.watch):
            ended.append(member)
            detail = {"metric": watch.metric, "best": float(state.watch["best"]), "evaluations": watch.patience}
            member.recorder.report.event(step, "stopped early", detail)
            member.note(f"stopped at step {step}: {watch.patience} evaluations without a better {watch.metric}")
    saved = [m not in ended or step in m.recorder.checkpoints.steps() for m in pack.members]
    save_members(pack, step, metrics, saved)
    found = _finish(pack, step, ended, stop)
    for member in ended:
        member.idle = True
    return found


def _finish(pack: PackState, step: int, members: Sequence[Member], stop: Stop) -> list[Mapping]:
    """The last measures of these members, their last saves, the pictures, and the words at the end."""
    for member in members:
        member.recorder.checkpoints.wait()
    wanted = members and pack.prepared.config["eval"]["test"]
    if wanted and not all(member.recorder.report.has(step, "test") for member in members):
        found = pack.evaluate(pack.prepared.source.test, _asking(pack, step, stop), raw=False)
        for member, each in zip(pack.members, found, strict=True):
            if member in members:
                member.recorder.evaluated(step, "test", each)
    return [member.recorder.complete(step) for member in members]


class RollBack(Callbacks):
    """A run by itself goes back to its last good state and on past the bad batches, as often as `train.rollbacks`."""

    def lost(self, pack: PackState, step: int, lost: Sequence[bool]) -> int:
        """Puts the run at its last good state; raises Diverged where that does not help."""
        (member,), (state,), plan = pack.members, pack.light(), pack.plan
        report, before = member.recorder.report, int(state.skipped)
        tripped, rollbacks, bad = int(state.step), int(state.rollbacks) + 1, int(state.bad)
        good, restored = member.newest()
        examples = _examples(member, tripped + before)
        story = (
            f"{plan.nonfinite} updates in a row were not finite, steps {tripped - plan.nonfinite} to "
            f"{tripped - 1} (examples {examples}); "
        )
        detail = {"tripped": tripped, "rollbacks": rollbacks, "bad_updates": bad}
        if rollbacks >= plan.rollbacks:
            report.event(good, "diverged", detail)
            member.recorder.status("diverged", good, {"tripped": tripped, "rollbacks": rollbacks})
            raise Diverged(story + _advice(state, good, rollbacks))
        member.recorder.cut(good)
        report.event(good, "rolled back", detail)
        member.note(f"{story}rolled back to step {good} and going on past them")
        counters = {"skipped": before + tripped - good, "rollbacks": rollbacks, "bad": bad, "streak": 0}
        pack.begin([restored.replace(**{name: np.int32(value) for name, value in counters.items()})])
        return good


def _examples(member: Member, position: int) -> str:
    """The first examples of the window of bad batches that ends before a position of the stream."""
    prepared = member.prepared
    data, plan = prepared.config["data"], prepared.plan
    order = orders(prepared.source.train, plan.batch, seed=data["seed"], sampling=data["sampling"])
    index = order(position - plan.nonfinite)[0]
    return ", ".join(map(str, index[:4])) + ", …"


def _advice(state: State, good: int, rollbacks: int) -> str:
    """The end of the message of a run that has diverged."""
    lr = state.hparams.get("optimizer.lr", 0.0)
    lower = f"lower optimizer.lr ({float(lr):g})" if float(lr) else "change the optimizer"
    times = "for the second time" if rollbacks == 2 else f"{rollbacks} times now"
    again = "; --allow_changes goes on from there" if good else ""
    return (
        f"{times}; the last good state is that of step {good}\n"
        f"{lower}, set optimizer.clip, or look at those examples{again}"
    )
