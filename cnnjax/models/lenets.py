"""LeNet-5 (LeCun et al. 1998, "Gradient-based learning applied to document recognition")."""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from cnnjax import ops
from cnnjax.annotations import AtLeastOne, Count, Rate
from cnnjax.layers import Activation, Conv, Dense, Dropout, Initializer, Norm, Style, activation, initializer, pooling
from cnnjax.models._bitmaps import digit_bitmaps
from cnnjax.models._network import Network, whole
from cnnjax.ops.dtypes import affine, shifted, widened
from cnnjax.ops.pooling import WindowKind

__all__ = ["lenet5", "lenet5_1998"]

# which maps of S2 each map of C3 reads (the paper's table I)
_TABLE = (
    (0, 1, 2),
    (1, 2, 3),
    (2, 3, 4),
    (3, 4, 5),
    (0, 4, 5),
    (0, 1, 5),
    (0, 1, 2, 3),
    (1, 2, 3, 4),
    (2, 3, 4, 5),
    (0, 3, 4, 5),
    (0, 1, 4, 5),
    (0, 1, 2, 5),
    (0, 1, 3, 4),
    (1, 2, 4, 5),
    (0, 2, 3, 5),
    (0, 1, 2, 3, 4, 5),
)


def lenet5(
    *,
    outputs: int,
    activation: Activation = "sigmoid",
    pool: WindowKind = "avg",
    norm: Norm = "none",
    norm_group: Count = 0,
    momentum: Rate = 0.9,
    dropout: Rate = 0.0,
    padding: Count = 2,
    width: AtLeastOne = 6,
    init: Initializer = "glorot_uniform",
) -> nn.Module:
    """LeNet-5 as it is taught: dense C3, plain pooling, a linear output layer for softmax; 28×28 is padded to 32×32.

    `width` is the number of C1's maps; C3 has width · 8 // 3 of them (6 → 16). First weights: Glorot's uniform.
    """
    style = Style(norm=norm, act=activation, init=init, group=norm_group, momentum=momentum)
    return LeNet(outputs, style, pool, dropout, padding, width)


class LeNet(Network):
    """Two convolutions with pooling (C1 S2 C3 S4), two dense layers (C5 F6) and the output layer."""

    may_be_0 = ("outputs", "padding")

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
        self.c5 = Dense(120, kernel_init=style.init)
        self.c5_dropout = Dropout(self.dropout)
        self.f6 = Dense(84, kernel_init=style.init)
        self.f6_dropout = Dropout(self.dropout)
        if self.outputs:
            self.head = Dense(self.outputs, kernel_init=style.init)

    def features(self, x, train=False):
        pool = pooling(self.pool)
        c1 = self.style.activate(self.c1_norm(self.c1(x), train))
        c3 = self.style.activate(self.c3_norm(self.c3(pool(c1, 2)), train))
        return {"c1": c1, "c3": c3, "s4": pool(c3, 2)}

    def __call__(self, x, train=False):
        x = self.features(x, train)["s4"]
        x = ops.flat(x)
        x = self.c5_dropout(self.style.activate(self.c5(x)), train)
        x = self.f6_dropout(self.style.activate(self.f6(x)), train)
        return self.head(x) if self.outputs else x


def lenet5_1998(*, outputs: int, padding: Count = 2, init: Initializer = "lecun_uniform") -> nn.Module:
    """LeNet-5 as published, for the ten digits: minus the squared distances (B, K) of F6 to fixed 7×12 bitmaps.

    Sparse C3, subsampling with a trainable coefficient and bias, 1.7159 tanh(2x/3). 60,000 trainable numbers, 340,908
    connections. 28×28 is padded to 32×32. First weights are uniform by fan-in with deviation 1/√fan-in.
    """
    if whole("outputs", outputs, 0) > 10:
        raise ValueError(f"outputs is {outputs}; lenet5_1998 has bitmaps for the ten digits, so it must be 0 to 10")
    return LeNet1998(outputs, padding, init)


class Subsampling(nn.Module):
    """The sum of each 2×2 square times a trainable coefficient, plus a trainable bias, for each map."""

    @nn.compact
    def __call__(self, x):
        scale = self.param("scale", nn.initializers.constant(0.25), (x.shape[-1],), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (x.shape[-1],), jnp.float32)
        return affine(ops.avg_pool(x, 2), 4 * scale, bias)


class SparseConv(nn.Module):
    """A 5×5 convolution whose maps read the inputs of table I alone; the kernel is (5, 5, 60), a plane a connection."""

    kernel_init: str

    @nn.compact
    def __call__(self, x):
        reads = np.array([source for sources in _TABLE for source in sources])
        gives = np.array([target for target, sources in enumerate(_TABLE) for _ in sources])

        def start(key, shape, dtype):  # fan-in is that of each map's own inputs
            dense = initializer(self.kernel_init)(key, (5, 5, 1, shape[-1]), dtype)[:, :, 0]
            return dense / np.sqrt([len(_TABLE[target]) for target in gives]).astype(dtype)

        planes = self.param("kernel", start, (5, 5, len(reads)), jnp.float32)
        kernel = jnp.zeros((5, 5, 6, len(_TABLE)), x.dtype).at[:, :, reads, gives].set(planes.astype(x.dtype))
        bias = self.param("bias", nn.initializers.zeros, (len(_TABLE),), jnp.float32)
        return shifted(ops.conv(x, kernel), bias)


class LeNet1998(Network):
    """C1 S2 C3 S4 C5 F6 and the radial basis output, as the paper names them."""

    may_be_0 = ("outputs", "padding")

    outputs: int
    padding: int
    kernel_init: str

    @property
    def strides(self):
        return (1, 2, 2, 4, 4)

    def setup(self):
        self.c1 = Conv(6, 5, padding=self.padding, kernel_init=self.kernel_init)
        self.s2 = Subsampling()
        self.c3 = SparseConv(self.kernel_init)
        self.s4 = Subsampling()
        self.c5 = Conv(120, 5, kernel_init=self.kernel_init)
        self.f6 = Dense(84, kernel_init=self.kernel_init)

    def features(self, x, train=False):
        squash, maps = activation("scaled_tanh"), {}
        for name in ("c1", "s2", "c3", "s4", "c5"):
            x = maps[name] = squash(getattr(self, name)(x))
        return maps

    def __call__(self, x, train=False):
        x = self.features(x, train)["c5"]
        x = activation("scaled_tanh")(self.f6(ops.flat(x)))
        if not self.outputs:
            return x
        codes = digit_bitmaps()[: self.outputs]
        return -jnp.sum(jnp.square(widened(x)[:, None] - codes), -1).astype(x.dtype)
