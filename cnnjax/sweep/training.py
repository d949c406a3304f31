"""Many points in one program: one compile, one order of the data, and for each point the workdir of a solo run."""

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence

import jax
import numpy as np

from cnnjax import config as sections
from cnnjax.runs.checkpoints import CheckpointError
from cnnjax.runs.provenance import check_same_run
from cnnjax.runs.signals import Stop
from cnnjax.runs.workdir import WorkdirLocked, hold, write_status
from cnnjax.sweep.decisions import LENIENT, Policy
from cnnjax.sweep.members import Member, PackState, light_of, out_of_memory
from cnnjax.sweep.points import Pack
from cnnjax.train.job import PreparedRun, prepare
from cnnjax.train.loop import Preempted
from cnnjax.train.parallel import STRATEGIES
from cnnjax.train.state import State

__all__ = ["train_pack"]

_SHORT = 20.0  # seconds: a pack that trains faster in turns is not worth compiling other ways


def train_pack(
    pack: Pack,
    stop: Stop,
    *,
    strategy: str = "auto",
    say: Callable[[str], None] = print,
    chosen: Callable[[str], None] = lambda strategy: None,
    policy: Policy = LENIENT,
) -> str:
    """Trains the points of a pack from wherever they stand; the way it took (`auto` tries them) comes out.

    Points that roll back are left frozen, to be trained alone; so are, untouched, those that another process holds.
    `chosen(strategy)` is told before the first step; the policy is asked after every evaluation.
    """
    with contextlib.ExitStack() as stack:
        prepared = prepare(sections.change(pack.runs[0].config, {"train.devices": 1}))
        members = []
        for run in pack.runs:
            try:
                stack.enter_context(hold(run.workdir))
            except WorkdirLocked as error:
                say(f"{error}; the others go on without it")
                continue
            if not run.done:
                check_same_run(run.workdir, run.config)
            members.append(Member(run, prepared))
            stack.callback(members[-1].recorder.close)
        session = _Session(pack, prepared, members, stop, say, policy)
        return session.finish(strategy, chosen)


class _Session:
    """One pack in training."""

    def __init__(
        self, pack: Pack, prepared: PreparedRun, members: list[Member], stop: Stop, say: Callable, policy: Policy
    ):
        self.pack, self.prepared, self.plan, self.stop, self.say, self.policy = (
            pack,
            prepared,
            prepared.plan,
            stop,
            say,
            policy,
        )
        self.members = members
        self.streams = {}

    def finish(self, strategy: str, chosen: Callable[[str], None]) -> str:
        """Trains to the end, measures, and leaves every workdir complete that can be."""
        states, step = self._resumed()
        if all(member.idle for member in self.members):
            return strategy
        if strategy != "vmap":  # there alone the numbers of a member depend, in the last bit, on how many there are
            states = [state for state, member in zip(states, self.members, strict=True) if not member.idle]
            self.members = self._active()
        for member in self.members:
            seed = member.run.config["data"]["seed"]
            if seed not in self.streams:
                records = str(member.run.workdir / "bad_records.jsonl")
                self.streams[seed] = member.recorder.prepared.batches(self.prepared.source.train, records)
        try:
            self.pack_state = self._pack_state(strategy, states, step)
            chosen(self.pack_state.strategy)
            if step:
                self.say(f"resumed at step {step} of {self.plan.steps}")
            self._train(step)
            if any(not member.idle for member in self.members):
                self._close_books()
        finally:
            for stream in self.streams.values():
                stream.close()
        return self.pack_state.strategy

    def _resumed(self) -> tuple[list[State], int]:
        """Every member's state at the newest step that all of them can go on from; those that can't are idle."""
        initial = self.prepared.initial()
        fresh = [initial(m.run.config["seed"], sections.numeric(m.run.config)) for m in self.members]
        reached = [[] if m.idle else m.reached(f) for m, f in zip(self.members, fresh, strict=True)]
        step = min((steps[-1] for steps in reached if steps), default=0)
        states = []
        for member, state, steps in zip(self.members, fresh, reached, strict=True):
            if step in steps:
                states.append(jax.device_get(member.begin(state, step)))
            else:  # its place is kept, for the program is that of all members
                member.idle = True
                states.append(jax.device_get(state.replace(streak=np.int32(self.plan.nonfinite))))
        return states, step

    def _pack_state(self, strategy: str, states: list[State], step: int) -> PackState:
        """The members with their program, in the way that was asked for or the fastest."""

        def made(strategy):
            return PackState(self.prepared, self.members, strategy, shared=self.pack.shared)

        if strategy != "auto":
            pack_state = made(strategy)
            pack_state.begin(states)
            return pack_state
        best, quickest, told = None, float("inf"), []
        for strategy in (strategy for strategy in STRATEGIES if strategy != "devices" or len(jax.devices()) > 1):
            pack_state = made(strategy)
            try:
                pack_state.begin(states)
                seconds = self._timed(pack_state, step)
            except Exception as error:
                if not out_of_memory(error):
                    raise
                told.append(f"{strategy}: out of memory")
                continue
            finally:
                pack_state.states = None
            told.append(f"{strategy} {1e3 * seconds:.1f} ms")
            if seconds < quickest:
                best, quickest = pack_state, seconds
            if strategy == "turns" and seconds * (self.plan.steps - step) < _SHORT:
                break
        if best is None:
            raise MemoryError(f"no way of training {len(states)} members fits: {', '.join(told)}")
        self.say(f"a step of all members takes: {', '.join(told)}; training by {best.strategy}")
        best.begin(states)
        return best

    def _timed(self, pack_state: PackState, step: int, count: int = 3) -> float:
        """Seconds of a step of all members, once compiled; the states are those of the trial alone."""
        jax.block_until_ready(pack_state.advance(*self._batches(step, self.plan.dispatch)))
        began = time.perf_counter()
        for _ in range(count):
            jax.block_until_ready(pack_state.advance(*self._batches(step, self.plan.dispatch)))
        return (time.perf_counter() - began) / count / self.plan.dispatch

    def _batches(self, step: int, count: int) -> tuple[Mapping | list, int]:
        """The batches of the next `count` steps: one for all, or each member's own; as many as a dispatch has."""
        found = {}
        for seed, stream in self.streams.items():
            batches, missing = stream.batches(step, count), self.plan.dispatch - count
            if missing:  # one shape, one program
                batches = {name: np.concatenate([a, np.repeat(a[-1:], missing, 0)]) for name, a in batches.items()}
            found[seed] = batches
        if self.pack.shared:
            return next(iter(found.values())), count
        return [found[member.run.config["data"]["seed"]] for member in self.members], count

    def _train(self, step: int) -> None:
        plan = self.plan
        if (
            step
            and self._due(step, plan.evaluate)
            and not all(m.recorder.report.has(step, m.recorder.measured) for m in self._active())
        ):
            self._evaluate(step)
        before, began, first = None, time.perf_counter(), True
        for member in self._active():
            member.recorder.report.start(step)
        while step < plan.steps and self._active():
            self._stop_if_signalled(step)
            count = min(plan.dispatch, plan.next_stop(step) - step)
            marker = self.pack_state.advance(*self._batches(step, count))
            step += count
            if first:
                jax.block_until_ready(marker)
                for member in self._active():
                    member.recorder.report.compiled(time.perf_counter() - began, steps=count)
                first, began = False, time.perf_counter()
            elif before is not None:
                jax.block_until_ready(before)  # no more than two dispatches ahead of the device
            before = marker
            if step == plan.next_stop(step - 1):
                jax.block_until_ready(marker)
                self._at_stop(step, time.perf_counter() - began)
                began = time.perf_counter()

    def _active(self) -> list[Member]:
        return [member for member in self.members if not member.idle]

    def _due(self, step: int, every: int) -> bool:
        return step % every == 0 or step == self.plan.steps

    def _at_stop(self, step: int, seconds: float) -> None:
        """What the host does at a cadence, in the order of a solo run: check, report, evaluate, save."""
        plan, pack_state = self.plan, self.pack_state
        light = pack_state.side.apart(pack_state.side.each(light_of, pack_state.states))
        lost = [int(state.streak) >= plan.nonfinite for state in light]
        for member, gone in zip(self.members, lost, strict=True):
            if gone and not member.idle and (step == plan.steps or not self.policy.rescues):
                member.freeze(step, plan.nonfinite)
                self.say(f"{member.run.name} is frozen before step {step}: it will be trained alone")
        for member, state, gone in zip(self.members, light, lost, strict=True):
            if not member.idle and not gone:
                member.recorder.report.trained(step, seconds)
                if self._due(step, plan.report):
                    member.recorder.train(step, state)
        if self._due(step, plan.report):
            pack_state.states = pack_state.side.each(
                lambda s: s.replace(sums=jax.tree.map(lambda x: x * 0, s.sums)), pack_state.states
            )
        metrics = [{}] * len(self.members)
        if self._due(step, plan.evaluate):
            metrics = self._evaluate(step)
            if step < plan.steps:
                metrics, lost = self._decided(step, metrics, lost)
        if self._due(step, plan.save):
            self._save(step, metrics, lost)
        self._shrink()

    def _decided(self, step: int, metrics: list, lost: list[bool]) -> tuple[list, list[bool]]:
        """The metrics, and which states have come to nothing, after the policy's decision."""
        seen = [
            {} if member.idle or gone else found
            for member, found, gone in zip(self.members, metrics, lost, strict=True)
        ]
        light = self.pack_state.side.apart(self.pack_state.side.each(light_of, self.pack_state.states))
        decision = self.policy.decide(
            step, [member.run for member in self.members], seen, [state.hparams for state in light]
        )
        for k in decision.ended:
            self.say(f"{self.members[k].run.name} ends at step {step}")
            self._save(step, metrics, [i != k for i in range(len(metrics))])
            self.members[k].end(step)
        if not decision.source:
            return metrics, lost
        numbers = []
        for k, (source, changes) in enumerate(zip(decision.source, decision.hparams, strict=True)):
            numbers.append({**light[source].hparams, **{path: np.float32(value) for path, value in changes.items()}})
            if source != k:
                detail = {"source": self.members[source].run.name, **changes}
                self.members[k].recorder.report.event(step, "copied", detail)
        self.pack_state.states = self.pack_state.side.exchange(self.pack_state.states, decision.source, numbers)
        return [metrics[k] for k in decision.source], [lost[k] for k in decision.source]

    def _shrink(self) -> None:
        """Lets go of members that have ended, where that saves more than a new program costs."""
        active = self._active()
        few = len(active) <= len(self.members) // 2 or (
            self.pack_state.strategy == "turns" and len(active) < len(self.members)
        )
        if active and few:
            states = [
                s
                for s, m in zip(self.pack_state.side.apart(self.pack_state.states), self.members, strict=True)
                if not m.idle
            ]
            self.members = active
            self.pack_state = PackState(self.prepared, active, self.pack_state.strategy, shared=self.pack.shared)
            self.pack_state.begin(jax.tree.map(np.array, states))

    def _evaluate(self, step: int) -> list[dict[str, float]]:
        found = self.pack_state.evaluate(self.prepared.source.eval)
        for member, metrics in zip(self.members, found, strict=True):
            if not member.idle:
                member.recorder.report.eval(step, member.recorder.measured, metrics)
        active = [metrics for member, metrics in zip(self.members, found, strict=True) if not member.idle]
        if active:
            recorder = self.members[0].recorder
            values = [metrics[recorder.task.metric] for metrics in active if recorder.task.metric in metrics]
            best = (max if recorder.task.higher else min)(values) if values else float("nan")
            self.say(
                f"step {step:>{len(str(self.plan.steps))}}/{self.plan.steps}  {len(active)} members  "
                f"best {recorder.measured} {recorder.task.metric} {best:.4f}"
            )
        return found

    def _save(self, step: int, metrics: Sequence[Mapping[str, float]], left_out: Sequence[bool]) -> None:
        states = self.pack_state.side.apart(self.pack_state.states)
        for member, state, found, out in zip(self.members, states, metrics, left_out, strict=True):
            if not member.idle and not out:
                try:
                    member.recorder.checkpoints.poll()
                except CheckpointError as error:  # the one before is whole, the next may work
                    self.say(f"{member.run.name}: {error}")
                member.recorder.checkpoints.save(step, state, found)

    def _stop_if_signalled(self, step: int) -> None:
        """Saves every member and stops where a signal asked for it."""
        if not self.stop.wanted:
            return
        light = self.pack_state.side.apart(self.pack_state.side.each(light_of, self.pack_state.states))
        left_out = [  # what is saved, and what will roll back and not go on
            not member.idle
            and (step in member.recorder.checkpoints.steps() or int(state.streak) >= self.plan.nonfinite)
            for member, state in zip(self.members, light, strict=True)
        ]
        self._save(step, [{}] * len(self.members), left_out)
        for member in self._active():
            member.recorder.checkpoints.wait()
            write_status(member.run.workdir, "interrupted", step=step, detail={"steps": self.plan.steps})
        raise Preempted(f"stopped by a signal at step {step} of {self.plan.steps}; all members are saved")

    def _close_books(self) -> None:
        """The last measures, the last saves, and the words at the end."""
        step, active = self.plan.steps, self._active()
        for member in active:
            member.recorder.checkpoints.wait()
        if self.prepared.config["eval"]["test"] and not all(m.recorder.report.has(step, "test") for m in active):
            for member, metrics in zip(self.members, self.pack_state.evaluate(self.prepared.source.test), strict=True):
                if not member.idle:
                    member.recorder.report.eval(step, "test", _without_raw(metrics))
        for member in active:
            member.recorder.complete()


def _without_raw(metrics: Mapping[str, float]) -> dict[str, float]:
    """The metrics at the end: those of the averages alone, where they are kept."""
    return {name: value for name, value in metrics.items() if not name.startswith("raw_")}
