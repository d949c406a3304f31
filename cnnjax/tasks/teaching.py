"""Classification that is learnt from another net."""

import dataclasses

import jax
import jax.numpy as jnp

from cnnjax.annotations import Positive, Share
from cnnjax.fields import Facts
from cnnjax.ops import losses
from cnnjax.refusals import refuse_misfits
from cnnjax.tasks.contract import Task, main_output, refuse_without, supervised
from cnnjax.tasks.labels import classification

__all__ = ["distillation"]


def distillation(facts: Facts, *, temperature: Positive = 4.0, share: Share = 0.9) -> Task:
    """A class for each example, learnt from what a teacher says of it (Hinton 2015); metrics: loss, accuracy.

    In training the net gives `main` and `teacher`, as `taught` does. The cross-entropy of both by softmaxes at a
    `temperature`, times its square, has a `share` of the loss, that with the label the rest; no gradient goes to the
    teacher. Evaluation and prediction are the student's alone: the loss is the cross-entropy with the label.
    """
    refuse_misfits(distillation, {"temperature": temperature, "share": share}, path="task.")
    refuse_without(facts, "distillation", "label", named=True)
    plain = classification(facts)

    def criterion(outputs, batch):
        main, target = main_output(outputs), batch["target"] if "target" in batch else batch["label"]
        value = losses.softmax_cross_entropy(main, target)
        if isinstance(outputs, dict) and "teacher" in outputs:
            told = jax.nn.softmax(jax.lax.stop_gradient(outputs["teacher"]) / temperature)
            apart = losses.softmax_cross_entropy(main / temperature, told) * temperature**2
            value = (1 - share) * value + share * apart
        return value, jnp.ones_like(value)

    learnt = supervised(criterion)

    def loss(net, params, batch, key):
        found = learnt(net, params, batch, key)
        outputs = found[-1][0]
        if net.train and not (isinstance(outputs, dict) and "teacher" in outputs):
            raise ValueError("task.name is 'distillation', but the net has no teacher; choose model.name=taught")
        return found

    return dataclasses.replace(plain, loss=loss)
