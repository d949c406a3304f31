"""Multi-layer perceptrons: the baseline that a convolutional net beats."""

import flax.linen as nn

from cnnjax import ops
from cnnjax.annotations import AtLeastOne, Count, Rate
from cnnjax.layers import Activation, Dense, Dropout, Initializer, Norm, Style
from cnnjax.models._network import Network

__all__ = ["mlp"]


def mlp(
    *,
    outputs: int,
    hidden: tuple[AtLeastOne, ...] = (512, 256),
    activation: Activation = "relu",
    norm: Norm = "none",
    norm_group: Count = 0,
    momentum: Rate = 0.9,
    dropout: Rate = 0.0,
    init: Initializer = "he_normal",
) -> nn.Module:
    """Dense layers of the sizes `hidden` on the flattened input, then the output layer; works for input of any rank.

    First weights: He's normal by fan-in.
    """
    style = Style(norm=norm, act=activation, init=init, group=norm_group, momentum=momentum)
    return MLP(outputs, hidden, style, dropout)


class MLP(Network):
    """Dense layers; the features are the hidden vectors, whose stride 0 says that they lie in no image plane."""

    outputs: int
    hidden: tuple[int, ...]
    style: Style
    dropout: float

    @property
    def strides(self):
        return (0,) * len(self.hidden)

    def setup(self):
        for i, size in enumerate(self.hidden, 1):
            setattr(self, f"dense{i}", Dense(size, kernel_init=self.style.init))
            setattr(self, f"norm{i}", self.style.normalize())
            setattr(self, f"dropout{i}", Dropout(self.dropout))
        if self.outputs:
            self.head = Dense(self.outputs, kernel_init=self.style.init)

    def features(self, x, train=False):
        x, maps = ops.flat(x), {}
        for i in range(1, len(self.hidden) + 1):
            x = self.style.activate(getattr(self, f"norm{i}")(getattr(self, f"dense{i}")(x), train))
            x = maps[f"dense{i}"] = getattr(self, f"dropout{i}")(x, train)
        return maps

    def __call__(self, x, train=False):
        maps = self.features(x, train)
        x = list(maps.values())[-1] if maps else ops.flat(x)
        return self.head(x) if self.outputs else x
