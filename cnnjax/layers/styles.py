"""What the layers of one net have in common, so that blocks need not hand on a dozen options."""

import dataclasses
from typing import Literal

import flax.linen as nn

from cnnjax import ops
from cnnjax.layers.activations import Activation, activation
from cnnjax.layers.initializers import Initializer, initializer
from cnnjax.layers.linear import Conv
from cnnjax.layers.normalizing import Norm, normalizer

__all__ = ["Style"]


@dataclasses.dataclass(frozen=True, eq=False)  # compared by identity: a momentum may be a traced number
class Style:
    """Normalisation, nonlinearity and first weights of a net, and the layers made to it.

    `group` counts the examples that share batch statistics (0 = the whole global batch), `groups` the channel groups
    of group normalisation. In a net without normalisation every convolution has a bias.
    Layers that are attributes of a module take their name from there: theirs is left empty.
    """

    norm: Norm = "batch"
    act: Activation = "relu"
    init: Initializer = "he_normal"
    group: int = 0
    groups: int = 32
    momentum: float = 0.9
    eps: float = 1e-5

    def __post_init__(self):  # a word that is none is refused here, not in the middle of a trace
        normalizer(self.norm)
        activation(self.act)
        initializer(self.init)
        if isinstance(self.momentum, int | float) and not 0 <= self.momentum <= 1:
            raise ValueError(f"momentum is {self.momentum}; it must be from 0 (nothing is kept) to 1")
        if isinstance(self.eps, int | float) and self.eps < 0:
            raise ValueError(f"eps is {self.eps}; it must be at least 0")

    def conv(self, features: int, window=3, *, bias: bool = False, name: str = "", **options) -> Conv:
        """A convolution with this style's first weights."""
        named = {"name": name} if name else {}
        bias = bias or self.norm == "none"
        return Conv(features, window, bias=bias, kernel_init=self.init, **options, **named)

    def normalize(self, name: str = "", *, scale_init: Literal["ones", "zeros"] = "ones") -> nn.Module:
        """The normalisation layer, called `(x, train)`; the identity where the style has none."""
        return normalizer(
            self.norm,
            group=self.group,
            groups=self.groups,
            momentum=self.momentum,
            eps=self.eps,
            scale_init=scale_init,
            name=name,
        )

    def statistics(self, x, train: bool = False) -> dict:
        """What the normalisation layer may be told of x, so that several layers that read x go over it once."""
        return {"statistics": ops.batch_statistics(x, group=self.group)} if train and self.norm == "batch" else {}

    def activate(self, x):
        """The nonlinearity of `x`."""
        return activation(self.act)(x)
