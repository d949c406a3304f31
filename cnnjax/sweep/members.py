"""The members of a pack: points with files of their own, that come, end and are taken out together."""

import dataclasses
from collections.abc import Callable

from cnnjax import config as sections
from cnnjax.runs.checkpoints import CheckpointError
from cnnjax.sweep.points import Run
from cnnjax.train.initial_weights import with_initial_weights
from cnnjax.train.job import PreparedRun
from cnnjax.train.members import Member
from cnnjax.train.state import State

__all__ = ["PackMember", "out_of_memory"]


class PackMember(Member):
    """A point in its pack; one that is done or was taken out of the pack is idle from the first."""

    def __init__(self, run: Run, prepared: PreparedRun, say: Callable[[str], None]):
        config = sections.with_numbers(run.config, {})
        super().__init__(dataclasses.replace(prepared, config=config), run.workdir, quiet=True)
        self.run, self._say = run, say
        self.idle = run.done or "frozen" in run.status

    def note(self, text: str) -> None:
        """Tells the reader of the whole sweep."""
        self._say(f"{self.run.name}: {text}")

    def begin(self, fresh: State, step: int) -> State:
        """The state at a step that `reached` allows; the files are cut to fit."""
        self.recorder.checkpoints.truncate(step)
        self.recorder.cut(step)
        if step:
            return self.with_changes(step, self.recorder.checkpoints.restore(fresh, step)[1], fresh)
        return with_initial_weights(self.prepared, fresh, self.recorder.report.note)

    def reached(self, fresh: State) -> list[int]:
        """The steps from which it can go on, the newest that is whole last."""
        try:
            newest, state, _ = self.recorder.checkpoints.restore(fresh)
        except CheckpointError:  # it will be told when it is trained alone
            return []
        if int(state.skipped):  # it has rolled back before: its batches are others than those of the pack
            return []
        return [0, *(step for step in self.recorder.checkpoints.steps() if step <= newest)]

    def end(self, step: int) -> None:
        """Ends it here, as one that is not worth more steps."""
        self.recorder.checkpoints.wait()
        self.recorder.status("pruned", step, {"steps": self.recorder.plan.steps})
        self.idle = True

    def freeze(self, step: int) -> None:
        """Takes it out of the pack: its last checkpoint stands, and it is to be trained alone from there."""
        good = max([0, *self.recorder.checkpoints.steps()])
        reason = f"{self.recorder.plan.nonfinite} updates in a row were not finite before step {step}"
        frozen = {"tripped": step, "reason": reason}
        self.recorder.status("interrupted", good, {"steps": self.recorder.plan.steps, "frozen": frozen})
        self.idle = True


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory was short, as Python, accelerators and the CPU do."""
    return isinstance(error, MemoryError) or any(word in str(error) for word in ("RESOURCE_EXHAUSTED", "Out of memory"))
