"""What a run remembers of its evaluations, and what follows from it: early stopping, and schedules that wait."""

import dataclasses
import math
from collections.abc import Mapping

import numpy as np

from cnnjax import config as sections
from cnnjax.config import ConfigError
from cnnjax.config.signatures import asks_for
from cnnjax.data.source import Source
from cnnjax.tasks.contract import Task

__all__ = ["Watch", "nothing_seen", "refuse_selection_by_test", "watch_of"]


def nothing_seen() -> dict[str, np.generic]:
    """The memory before the first evaluation.

    `best` is the best value so far, `stale` the evaluations in a row since then, `drops` how often the schedule's
    patience ran out, `step` that of the last evaluation that is counted.
    """
    return {"best": np.float32(math.nan), "stale": np.int32(0), "drops": np.int32(0), "step": np.int32(0)}


@dataclasses.dataclass(frozen=True)
class Watch:
    """How the evaluations of a run are judged: by which metric, and after how many that are no better what happens.

    After `patience` of them in a row the run ends, after every `drop_after` its schedule goes on to the next rate;
    0 is never.
    """

    metric: str
    higher: bool
    patience: int = 0
    drop_after: int = 0

    def after(self, memory: Mapping, step: int, metrics: Mapping[str, float]) -> dict[str, np.generic]:
        """The memory after the evaluation at a step; one that was counted already changes nothing."""
        if int(memory["step"]) >= step:
            return dict(memory)
        if self.metric not in metrics:
            if self.patience or self.drop_after:
                sections.one_of(self.metric, metrics, path="checkpoint.metric")
            return dict(memory)
        value, best = np.float32(metrics[self.metric]), np.float32(memory["best"])
        better = np.isnan(best) or (value > best if self.higher else value < best)
        stale = 0 if better else int(memory["stale"]) + 1
        dropped = bool(self.drop_after and stale and stale % self.drop_after == 0)
        return {
            "best": value if better else best,
            "stale": np.int32(stale),
            "drops": np.int32(int(memory["drops"]) + dropped),
            "step": np.int32(step),
        }

    def exhausted(self, memory: Mapping) -> bool:
        """Whether the run has come to the end of its patience."""
        return bool(self.patience) and int(memory["stale"]) >= self.patience


def watch_of(config: Mapping, task: Task, *, selects: bool) -> Watch:
    """How the evaluations of a run of this config are judged; by no metric where they are of the test set."""
    metric = config["checkpoint"]["metric"] or task.metric
    if not selects:
        return Watch("", True)
    drop_after = config["schedule"]["patience"] if _waits(config) else 0
    return Watch(metric, task.more_is_better(metric), config["train"]["patience"], drop_after)


def refuse_selection_by_test(config: Mapping, source: Source) -> None:
    """Refuses to end a training, or to lower its rate, by what is measured on the official test set."""
    if source.eval is not source.test:
        return
    patience = config["train"]["patience"]
    if patience or _waits(config):
        option = f"train.patience is {patience}" if patience else f"schedule.name is {config['schedule']['name']!r}"
        raise ConfigError(
            f"{option}, but nothing is held out: eval is the official test set, by which nothing may be selected\n"
            "hold out training examples, as by --config.data.holdout=200"
        )


def _waits(config: Mapping) -> bool:
    """Whether the schedule goes by evaluations."""
    return asks_for(sections.entry("schedules", config["schedule"]["name"]), "drops")
