"""What an evaluation finds of every single example: its loss, the truth, and what was predicted."""

import dataclasses
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from cnnjax import config as sections
from cnnjax.data.source import take
from cnnjax.ops import box_iou
from cnnjax.runs.tables import numbers_and_tables
from cnnjax.tasks.contract import Outputs, Task
from cnnjax.train.parallel import MemberLayout
from cnnjax.train.step import eval_step
from cnnjax.train.trained import Trained

__all__ = ["Examined", "examine", "examining"]

_OWN = "example."  # before the names of rows that are not the task's
_ENOUGH = 0.5  # of a thing's box is overlapped, where it counts as found
_FEW = 8  # numbers of a target that are kept of each example


@dataclasses.dataclass(frozen=True)
class Examined:
    """One pass over a split: `metrics` and `tables` as an evaluation gives them, `rows` of its N examples.

    Every row has `index`, `loss` and `weight` (N,). Where classes are predicted, `truth`, `prediction`, `probability`
    (of the prediction) and `truth_probability` (N,); where classes of places, `right` and `miou` (N,), the share of the
    example's places that are right and the mean overlap of the classes that it has; where boxes, `things`, `found` and
    `false` (N,): how many there are, how many of them a box of their class overlaps by half, and how many boxes overlap
    none; where points, `off` (N,), the mean distance in pixels of those that are visible; where few numbers, `truth`
    and `prediction` (N, K). Where they were asked for, `probabilities` (N, K) of all classes.
    """

    metrics: dict[str, float]
    tables: dict[str, np.ndarray]
    rows: dict[str, np.ndarray]

    def worst(self, count: int) -> np.ndarray:
        """Which rows (n,) have the greatest loss, the greatest first; one that is no number is greater than all."""
        loss = np.where(np.isnan(self.rows["loss"]), np.inf, self.rows["loss"])
        return np.argsort(-loss, kind="stable")[:count]

    def best(self, count: int) -> np.ndarray:
        """Which rows (n,) have the smallest loss, the smallest first."""
        return np.argsort(self.rows["loss"], kind="stable")[:count]


def examine(trained: Trained, split: str = "test", *, most: int = 0, distributions: bool = False) -> Examined:
    """Metrics, tables and rows of all examples of a split (train, eval or test), of one pass over it.

    Of a split that has more than `most` (0: any number) it is that many, evenly spaced. `distributions` keeps the
    probabilities of all classes.
    """
    return examining(trained, distributions=distributions)(split, most)


def examining(trained: Trained, *, distributions: bool = False) -> Callable[[str, int], Examined]:
    """The function (split, most) -> what `examine` finds, compiled once for all splits that it is asked about."""
    prepared, state = trained.prepared, trained.state
    alone = prepared.layout.compile_evaluation(eval_step(prepared.program, _with_shares if distributions else _kept))
    measured = MemberLayout("turns", 1, prepared.layout).evaluation(alone, alone=alone)
    variables = state.ema or {"params": state.params, "model_state": state.model_state}

    def examined(split: str, most: int = 0) -> Examined:
        part = getattr(trained.source, sections.one_of(split, ("train", "eval", "test"), path="split"))
        folds = trained.config["data"].get("folds", 0)  # which the number of an example tells
        count = min(most or len(part), len(part)) if not folds else len(part)
        chosen = np.arange(count) * len(part) // count
        part = take(part, chosen, False) if count < len(part) else part
        store = prepared.store(part)
        ((sums, rows),) = prepared.totals(part, lambda batch: measured([variables], [state.hparams], store, batch))
        own = {name.removeprefix(_OWN): value for name, value in rows.items() if name.startswith(_OWN)}
        own["index"] = chosen[own["index"]]
        of_task = {name: value for name, value in rows.items() if not name.startswith(_OWN)}
        metrics, tables = numbers_and_tables(prepared.metrics(state, sums, of_task))
        return Examined(metrics, tables, own | _overlaps(of_task))

    return examined


def _kept(task: Task, outputs: Outputs, fields: Mapping, losses: jax.Array, weights: jax.Array) -> dict:
    """What the task keeps of each example, and beside it what can be said of any task's."""
    weights = jnp.broadcast_to(weights, losses.shape).astype(jnp.float32)
    own = {"index": fields["index"], "loss": losses / jnp.where(weights == 0, 1.0, weights), "weight": weights}
    predicted = task.predict(outputs, fields)
    own |= _answer(predicted, fields) | _things(predicted, fields) | _distance(predicted, fields)
    return task.rows(outputs, fields) | {f"{_OWN}{name}": value for name, value in own.items()}


def _with_shares(task: Task, outputs: Outputs, fields: Mapping, losses: jax.Array, weights: jax.Array) -> dict:
    """All that is kept, and the probabilities of every class where the task predicts them of whole examples."""
    shares = task.predict(outputs, fields).get("probabilities")
    more = {f"{_OWN}probabilities": shares} if getattr(shares, "ndim", 0) == 2 else {}
    return _kept(task, outputs, fields, losses, weights) | more


def _answer(predicted: Mapping, fields: Mapping) -> dict:
    """Truth and prediction (B,) of a class, or (B, K) of a few numbers; {} where the task predicts neither."""
    target = fields.get("target")
    if "label" in predicted and jnp.ndim(predicted["label"]) == 1 and ("label" in fields or jnp.ndim(target) == 2):
        truth = fields["label"] if "label" in fields else jnp.argmax(target, -1)
        found = {"truth": truth, "prediction": predicted["label"]}
        shares = predicted.get("probabilities")
        if jnp.ndim(shares) == 2:
            for name, of in (("probability", predicted["label"]), ("truth_probability", truth)):
                found[name] = jnp.take_along_axis(shares, of[:, None].astype(jnp.int32), 1)[:, 0]
        return found
    answer = predicted.get("target")
    if target is None or answer is None or target.shape != answer.shape or target[0].size > _FEW:
        return {}
    flat = (len(target), -1)
    return {"truth": target.reshape(flat), "prediction": answer.reshape(flat)}


def _things(predicted: Mapping, fields: Mapping) -> dict:
    """How many things (B,) there are, are found, and are found where none is; {} where the task predicts no boxes."""
    words = {"boxes", "classes", "present"}
    if not words <= set(predicted) or not words <= set(fields):
        return {}
    there, said = fields["present"] > 0, predicted["present"] > 0
    aside = fields.get("ignored", jnp.zeros_like(fields["present"])) > 0
    same = (predicted["classes"][:, :, None] == fields["classes"][:, None]) | aside[:, None]
    pairs = same & (box_iou(predicted["boxes"], fields["boxes"]) >= _ENOUGH) & said[:, :, None] & there[:, None]
    counted = there & ~aside
    return {
        "things": counted.sum(1),
        "found": (pairs.any(1) & counted).sum(1),
        "false": (said & ~pairs.any(2)).sum(1),
    }


def _distance(predicted: Mapping, fields: Mapping) -> dict:
    """How many pixels (B,) the visible points lie off on average; {} where the task predicts none."""
    if "points" not in predicted or jnp.shape(predicted["points"]) != jnp.shape(fields.get("points")):
        return {}
    apart = jnp.sqrt(jnp.sum((predicted["points"] - fields["points"]) ** 2, -1))
    visible = fields.get("visible", jnp.ones_like(apart)) > 0
    return {"off": jnp.where(visible, apart, 0).sum(-1) / visible.sum(-1)}


def _overlaps(of_task: Mapping) -> dict[str, np.ndarray]:
    """`right` and `miou` (N,) of confusions (N, K, K) of an example's places; {} where a task keeps none."""
    counts = np.asarray(of_task.get("confusion", ()), np.float64)
    if counts.ndim != 3:
        return {}
    both = np.diagonal(counts, axis1=1, axis2=2)
    either = counts.sum(1) + counts.sum(2) - both
    share = np.where(either > 0, both / np.maximum(either, 1), 0.0)
    kinds = np.maximum((either > 0).sum(1), 1)
    return {"right": both.sum(1) / np.maximum(counts.sum((1, 2)), 1), "miou": share.sum(1) / kinds}
