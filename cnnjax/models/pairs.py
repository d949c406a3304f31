"""Two nets in one, of which one learns from the other."""

from typing import Annotated

import flax.linen as nn
import jax

from cnnjax.models._backbones import backbone_net
from cnnjax.models._network import Network

__all__ = ["taught"]


def taught(
    *,
    outputs: int,
    student: Annotated[str, "models", "whole"] = "lenet5",
    teacher: Annotated[str, "models", "whole"] = "lenet5",
) -> nn.Module:
    """A student (B, K), which is what answers; in training {"main", "teacher"} with what another net says of the same.

    Either may be any net here. `train.init=runs/big train.init_into=teacher` fills the teacher, of which the running
    statistics are used; `optimizer.freeze=("teacher",)` keeps it as it is.
    """
    nets = {"student": student, "teacher": teacher}
    return Taught(*(backbone_net(net, outputs, option=name) for name, net in nets.items()))


class Taught(Network):
    """A student and its teacher."""

    student: nn.Module
    teacher: nn.Module
    given = ("teacher",)  # what must have the weights of another training

    @property
    def strides(self):
        return self.student.strides

    def features(self, x: jax.Array, train: bool = False) -> dict[str, jax.Array]:
        """The student's named maps of x (B, *sizes, C)."""
        return self.student.features(x, train)

    def __call__(self, x, train=False):
        told = self.teacher(x, False) if train or self.is_initializing() else ()
        said = self.student(x, train)
        if not train:
            return said
        said, told = (net if isinstance(net, dict) else {"main": net} for net in (said, told))
        return {**said, "teacher": told["main"]}
