"""LeNet-5 (LeCun et al. 1998, "Gradient-based learning applied to document recognition")."""

import flax.linen as nn

from cnnjax.layers import Dense, Dropout, Style, pooling
from cnnjax.models._network import Network

__all__ = ["lenet5"]


def lenet5(
    *, outputs: int, activation: str = "sigmoid", pool: str = "avg", norm: str = "none", norm_group: int = 0,
    dropout: float = 0.0, padding: int = 2, width: int = 6, init: str = "glorot_uniform",
) -> nn.Module:
    """LeNet-5 as it is taught: dense C3, plain pooling, a linear output layer for softmax; 28×28 is padded to 32×32.

    `width` is the number of C1's maps; C3 has width · 8 // 3 of them (6 → 16).
    """
    return LeNet(outputs, Style(norm=norm, act=activation, init=init, group=norm_group), pool, dropout, padding, width)


class LeNet(Network):
    """Two convolutions with pooling (C1 S2 C3 S4), two dense layers (C5 F6) and the output layer."""

    outputs: int
    style: Style
    pool: str
    dropout: float
    padding: int
    width: int

    @property
    def strides(self):
        return (1, 2, 4)

    def setup(self):
        style = self.style
        self.c1 = style.conv(self.width, 5, padding=self.padding, bias=True)
        self.c1_norm = style.normalize()
        self.c3 = style.conv(self.width * 8 // 3, 5, bias=True)
        self.c3_norm = style.normalize()
        self.c5 = Dense(120, init=style.init)
        self.c5_dropout = Dropout(self.dropout)
        self.f6 = Dense(84, init=style.init)
        self.f6_dropout = Dropout(self.dropout)
        if self.outputs:
            self.head = Dense(self.outputs, init=style.init)

    def features(self, x, train=False):
        pool = pooling(self.pool)
        c1 = self.style.activate(self.c1_norm(self.c1(x), train))
        c3 = self.style.activate(self.c3_norm(self.c3(pool(c1, 2)), train))
        return {"c1": c1, "c3": c3, "s4": pool(c3, 2)}

    def __call__(self, x, train=False):
        x = self.features(x, train)["s4"]
        x = x.reshape(x.shape[0], -1)
        x = self.c5_dropout(self.style.activate(self.c5(x)), train)
        x = self.f6_dropout(self.style.activate(self.f6(x)), train)
        return self.head(x) if self.outputs else x
