"""Many points in one program: one compile, one order of the data, and for each point the workdir of a solo run.

The loop is that of a solo run; here stands what packs add: where all members can begin, which strategy is the fastest,
and what becomes of members that go wrong, end, or copy one another.
"""

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence

import jax
import numpy as np

from cnnjax import config as sections
from cnnjax.runs.provenance import check_same_run, record_facts, record_of
from cnnjax.runs.signals import Stop
from cnnjax.runs.workdir import WorkdirLocked, hold
from cnnjax.sweep.decisions import LENIENT, Policy
from cnnjax.sweep.members import PackMember, out_of_memory
from cnnjax.sweep.points import Pack
from cnnjax.train.job import prepare
from cnnjax.train.loop import Callbacks, Preempted, save_members, train_members
from cnnjax.train.members import Feed, PackState
from cnnjax.train.parallel import STRATEGIES
from cnnjax.train.state import State

__all__ = ["train_pack"]

_TIMED = 3  # dispatches by which a strategy is timed
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
    """Trains the points of a pack from wherever they stand; the strategy it took (`auto` tries them) comes out.

    Points that roll back are left frozen, to be trained alone; so are, untouched, those that another process holds.
    `chosen(strategy)` is told before the first step; the policy is asked after every evaluation.
    """
    with contextlib.ExitStack() as stack:
        prepared = prepare(sections.change(pack.runs[0].config, {"train.devices": 1}))
        members, told = [], {}
        for run in pack.runs:
            try:
                stack.enter_context(hold(run.workdir))
            except WorkdirLocked as error:
                say(f"{error}; the others go on without it")
                continue
            if not run.done:
                record = record_of(run.config, prepared.source.identity)
                changed = check_same_run(run.workdir, record, allow_changes=run.allow_changes)
                told.setdefault(changed, []).append(run.name)
                record_facts(run.workdir, prepared.facts, selects=prepared.selects)
            members.append(PackMember(run, prepared, say))
            stack.callback(members[-1].recorder.close)
        for words, names in told.items():
            if words:
                say(f"{names[0]}{f' and {len(names) - 1} more' if len(names) > 1 else ''}: {words}")
        states, step = _common_states(members, prepared)
        if all(member.idle for member in members):
            return strategy
        if strategy != "vmap":  # there alone the numbers of a member depend, in the last bit, on how many there are
            states = [state for state, member in zip(states, members, strict=True) if not member.idle]
            members = [member for member in members if not member.idle]

        feed = stack.enter_context(contextlib.closing(Feed(members, pack.shared)))

        def made(strategy: str) -> PackState:
            return PackState(prepared, members, strategy, shared=pack.shared)

        state = _Trial(made, states, feed, step, stop, say).fastest() if strategy == "auto" else made(strategy)
        state.begin(states)
        chosen(state.strategy)
        if step:
            say(f"resumed at step {step} of {prepared.plan.steps}")
        train_members(state, feed, step, stop, _Judged(policy, say))
        return state.strategy


def _common_states(members: Sequence[PackMember], prepared) -> tuple[list[State], int]:
    """Every member's state at the newest step that all of them can go on from; those that can't are idle."""
    initial = prepared.initial()
    fresh = [initial(m.run.config["seed"], sections.numeric(m.run.config)) for m in members]
    reached = [[] if m.idle else m.reached(f) for m, f in zip(members, fresh, strict=True)]
    step = min((steps[-1] for steps in reached if steps), default=0)
    states = []
    for member, state, steps in zip(members, fresh, reached, strict=True):
        if step in steps:
            states.append(jax.device_get(member.begin(state, step)))
        else:  # its place is kept, for the program is that of all members
            member.idle = True
            states.append(jax.device_get(state.replace(streak=np.int32(prepared.plan.nonfinite))))
    return states, step


class _Trial:
    """Which strategy trains the members of a pack the quickest, found by a few steps of each from the same states."""

    def __init__(
        self,
        made: Callable[[str], PackState],
        states: list[State],
        feed: Feed,
        step: int,
        stop: Stop,
        say: Callable[[str], None],
    ):
        self._made, self._states, self._feed, self._step = made, states, feed, step
        self._stop, self._say = stop, say

    def fastest(self) -> PackState:
        """The members in the strategy whose step of all of them is the quickest; their states are to be put again."""
        best, quickest, told, count = None, float("inf"), [], len(self._states)
        strategies = [strategy for strategy in STRATEGIES if strategy != "devices" or len(jax.devices()) > 1]
        for strategy in strategies:
            self._say(f"trying {strategy} with {count} members: compiling, then {_TIMED} steps")
            packed = self._made(strategy)
            try:
                packed.begin(self._states)
                seconds = self._timed(packed)
            except Exception as error:
                if not out_of_memory(error):
                    raise
                told.append(f"{strategy}: out of memory")
                continue
            finally:
                packed.states = None
            told.append(f"{strategy} {1e3 * seconds:.1f} ms")
            if seconds < quickest:
                best, quickest = packed, seconds
            if strategy == "turns" and seconds * (packed.plan.steps - self._step) < _SHORT:
                break
        if best is None:
            raise MemoryError(f"no strategy of training {count} members fits: {', '.join(told)}")
        self._say(f"a step of all members takes: {', '.join(told)}; training by {best.strategy}")
        return best

    def _timed(self, packed: PackState) -> float:
        """Seconds of a step of all members, once compiled."""
        self._advance(packed)
        began = time.perf_counter()
        for _ in range(_TIMED):
            self._advance(packed)
        return (time.perf_counter() - began) / _TIMED / packed.plan.dispatch

    def _advance(self, packed: PackState) -> None:
        """Goes a dispatch further, unless a signal asks for an end: there is nothing to save yet."""
        if self._stop.anywhere():
            steps = packed.plan.steps
            for member in packed.active:
                member.recorder.status("interrupted", self._step, {"steps": steps})
            raise Preempted(
                f"stopped by a signal at step {self._step} of {steps}, while {packed.strategy} was tried; "
                "what was saved before stands"
            )
        dispatch = packed.plan.dispatch
        jax.block_until_ready(packed.advance(self._feed.batches(packed.members, self._step, dispatch), dispatch))


class _Judged(Callbacks):
    """What becomes of the members of a pack: frozen ones are taken out, unless the policy sees to them; it decides."""

    def __init__(self, policy: Policy, say: Callable[[str], None]):
        self._policy, self._say = policy, say

    def lost(self, pack: PackState, step: int, lost: Sequence[bool]) -> int:
        """Takes out members that are to be trained alone; at the last step also those that the policy has left so."""
        if step == pack.plan.steps or not self._policy.rescues:
            for member, gone in zip(pack.members, lost, strict=True):
                if gone and not member.idle:
                    member.freeze(step)
                    self._say(f"{member.run.name} is frozen before step {step}: it will be trained alone")
        return step

    def evaluated(self, pack: PackState, step: int, metrics: Sequence[Mapping]) -> None:
        """Says how good the best member is."""
        found = [each for member, each in zip(pack.members, metrics, strict=True) if not member.idle]
        if found:
            recorder = pack.members[0].recorder
            values = [each[recorder.task.metric] for each in found if recorder.task.metric in each]
            best = (max if recorder.task.higher else min)(values) if values else float("nan")
            self._say(
                f"step {step:>{len(str(pack.plan.steps))}}/{pack.plan.steps}  {len(found)} members  "
                f"best {recorder.measured} {recorder.task.metric} {best:.4f}"
            )

    def decided(
        self, pack: PackState, step: int, metrics: Sequence[Mapping], lost: Sequence[bool]
    ) -> tuple[Sequence[Mapping], Sequence[bool]]:
        """Does what the policy decides; gives the metrics, and which states have come to nothing, after that."""
        members, light = pack.members, pack.light()
        seen = [{} if m.idle or gone else found for m, found, gone in zip(members, metrics, lost, strict=True)]
        decision = self._policy.decide(step, [m.run for m in members], seen, [state.hparams for state in light])
        for k in decision.ended:
            self._say(f"{members[k].run.name} ends at step {step}")
            save_members(pack, step, metrics, [i != k for i in range(len(members))])
            members[k].end(step)
        if not decision.source:
            return metrics, lost
        numbers = []
        for k, (source, changes) in enumerate(zip(decision.source, decision.hparams, strict=True)):
            numbers.append({**light[source].hparams, **{path: np.float32(value) for path, value in changes.items()}})
            if source != k:
                detail = {"source": members[source].run.name, **changes}
                members[k].recorder.report.event(step, "copied", detail)
        pack.exchange(decision.source, numbers)
        return [metrics[k] for k in decision.source], [lost[k] for k in decision.source]

    def stopped(self, pack: PackState, step: int) -> None:
        """Lets go of members that have ended, where that saves more than a new program costs."""
        active = [k for k, member in enumerate(pack.members) if not member.idle]
        few = len(active) <= len(pack.members) // 2 or (pack.strategy == "turns" and len(active) < len(pack.members))
        if active and few:
            pack.keep(active)
