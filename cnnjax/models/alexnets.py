"""AlexNet: as published (Krizhevsky 2012), and in one tower (Krizhevsky 2014), which is torchvision's."""

import flax.linen as nn

from cnnjax import ops
from cnnjax.annotations import AtLeastOne, Count, Rate
from cnnjax.layers import Activation, Conv, Dense, Dropout, Initializer, LocalResponseNorm, Norm, Style, pooling
from cnnjax.models._network import Network
from cnnjax.ops.pooling import WindowKind

__all__ = ["alexnet", "alexnet_2012"]

# features, window, stride, padding, groups, and whether a pooling follows
_TOWER = (
    (64, 11, 4, 2, 1, True),
    (192, 5, 1, 2, 1, True),
    (384, 3, 1, 1, 1, False),
    (256, 3, 1, 1, 1, False),
    (256, 3, 1, 1, 1, True),
)
_TWO = (
    (96, 11, 4, 0, 1, True),
    (256, 5, 1, 2, 2, True),
    (384, 3, 1, 1, 1, False),
    (384, 3, 1, 1, 2, False),
    (256, 3, 1, 1, 2, True),
)


def alexnet(
    *,
    outputs: int,
    hidden: AtLeastOne = 4096,
    dropout: Rate = 0.5,
    norm: Norm = "none",
    norm_group: Count = 0,
    momentum: Rate = 0.9,
    activation: Activation = "relu",
    pool: WindowKind = "max",
    init: Initializer = "torch",
) -> nn.Module:
    """AlexNet in one tower, for 224×224; larger maps are pooled to 6×6 before the dense layers.

    First weights and biases are PyTorch's defaults.
    """
    style = Style(norm=norm, act=activation, init=init, group=norm_group, momentum=momentum)
    return AlexNet(outputs, _TOWER, hidden, dropout, pool, style, (), "torch", False)


def alexnet_2012(
    *,
    outputs: int,
    hidden: AtLeastOne = 4096,
    dropout: Rate = 0.5,
    norm: Norm = "none",
    norm_group: Count = 0,
    momentum: Rate = 0.9,
    activation: Activation = "relu",
    pool: WindowKind = "max",
    init: Initializer = "normal_001",
) -> nn.Module:
    """AlexNet as published, for 227×227: convolutions 2, 4 and 5 in two groups, local response normalisation.

    First weights are the paper's: normal with deviation 0.01; biases 1 in convolutions 2, 4, 5 and the hidden layers.
    """
    style = Style(norm=norm, act=activation, init=init, group=norm_group, momentum=momentum)
    return AlexNet(outputs, _TWO, hidden, dropout, pool, style, (1, 2), "zeros", True)


class AlexNet(Network):
    """Five convolutions, three of them pooled by overlapping windows, and three dense layers."""

    outputs: int
    plan: tuple
    hidden: int
    dropout: float
    pool: str
    style: Style
    responses: tuple[int, ...]  # convolutions that local response normalisation follows
    bias_init: str
    ones: bool  # whether the paper's biases of 1 are used

    @property
    def strides(self):
        return (4, 8, 16, 32)

    def setup(self):
        style = self.style
        for i, (features, window, stride, padding, groups, _) in enumerate(self.plan, 1):
            bias = "ones" if self.ones and i in (2, 4, 5) else self.bias_init
            setattr(
                self,
                f"conv{i}",
                Conv(features, window, stride, padding, groups=groups, bias_init=bias, kernel_init=style.init),
            )
            setattr(self, f"norm{i}", style.normalize())
        self.response = LocalResponseNorm(5, alpha=5e-4, beta=0.75, bias=2.0)  # the paper's alpha is not over the size
        if self.outputs:
            bias = "ones" if self.ones else self.bias_init
            self.dropout1, self.dropout2 = Dropout(self.dropout), Dropout(self.dropout)
            self.dense1 = Dense(self.hidden, kernel_init=style.init, bias_init=bias)
            self.dense2 = Dense(self.hidden, kernel_init=style.init, bias_init=bias)
            self.head = Dense(self.outputs, kernel_init=style.init, bias_init=self.bias_init)

    def features(self, x, train=False):
        maps = {}
        for i, (*_, pooled) in enumerate(self.plan, 1):
            x = getattr(self, f"norm{i}")(getattr(self, f"conv{i}")(x), train)
            x = self.style.activate(x)
            if pooled:
                maps[f"conv{i}"] = x
                x = self.response(x) if i in self.responses else x
                x = pooling(self.pool)(x, 3, stride=2)
        return {**maps, "pool5": x}

    def __call__(self, x, train=False):
        x = self.features(x, train)["pool5"]
        if not self.outputs:
            return ops.global_pool(x, "avg")
        x = ops.adaptive_pool(x, (6, 6), "avg") if x.shape[1:3] != (6, 6) else x
        x = self.dropout1(ops.flat(x), train)
        x = self.dropout2(self.style.activate(self.dense1(x)), train)
        return self.head(self.style.activate(self.dense2(x)))
