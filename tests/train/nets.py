"""The smallest net that has everything whose numbers could depend on how a batch is spread, or be lost on the way."""

import math

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from cnnjax.layers import BatchNorm, Conv, Dense, Dropout, activation
from cnnjax.ops import avg_pool, max_pool, pixel_shuffle, pixel_unshuffle


def small(*, outputs: int, width: int = 4, norm_group: int = 0, grouped: int = 0, dropout: float = 0.3) -> nn.Module:
    """A convolution, batch normalisation, dropout and a dense layer; `grouped`: a second one over so many examples."""
    return Small(outputs, width, norm_group, grouped, dropout)


class Small(nn.Module):
    outputs: int
    width: int
    norm_group: int
    grouped: int
    dropout: float

    @nn.compact
    def __call__(self, x, train=False):
        x = Conv(self.width, 3, 2, name="conv")(x)
        x = nn.relu(BatchNorm(group=self.norm_group, name="norm")(x, train))
        x = BatchNorm(group=self.grouped, name="norm2")(x, train) if self.grouped else x
        x = Dropout(self.dropout)(avg_pool(x, 4), train)
        return Dense(self.outputs, name="head")(x.reshape(x.shape[0], -1))


def layered(*, outputs: int, activation: str = "relu") -> nn.Module:
    """A small net whose layers have names to freeze, scale and group by: two convolutions and a dense layer."""
    return Layered(outputs, activation)


class Layered(nn.Module):
    outputs: int
    activation: str

    @nn.compact
    def __call__(self, x, train=False):
        bend = activation(self.activation)
        x = bend(Conv(4, 3, 2, name="c1")(avg_pool(x, 2)))
        x = bend(Conv(16, 3, 2, name="c3")(x))
        return Dense(self.outputs, name="head")(x.reshape(x.shape[0], -1))


def dense(*, outputs: int, activation: str = "tanh") -> nn.Module:
    """The same of dense layers that start alike whatever the seed: what draws nothing is compiled soon."""
    return DenseLayers(outputs, activation)


class DenseLayers(nn.Module):
    outputs: int
    activation: str

    @nn.compact
    def __call__(self, x, train=False):
        bend = activation(self.activation)
        x = bend(nn.Dense(32, kernel_init=waves, name="c1")(x.reshape(x.shape[0], -1)))
        x = bend(nn.Dense(16, kernel_init=waves, name="c3")(x))
        return nn.Dense(self.outputs, kernel_init=waves, name="head")(x)


def waves(key, shape, dtype=jnp.float32):
    """Weights in place of drawn ones, as large as He's."""
    values = np.sin(np.arange(math.prod(shape), dtype=np.float32) ** 2)
    return jnp.asarray(2 * values.reshape(shape) / math.sqrt(shape[0]), dtype)


def scenes(*, outputs: int, width: int = 16) -> nn.Module:
    """A U-shaped net on pixels folded two by two: logits (B, H, W, K) for a quarter of the multiplies."""
    return Scenes(outputs, width)


class Double(nn.Module):
    width: int

    @nn.compact
    def __call__(self, x, train=False):
        for i in (1, 2):
            x = Conv(self.width, 3, padding=1, bias=False, name=f"conv{i}")(x)
            x = nn.relu(BatchNorm(name=f"norm{i}")(x, train))
        return x


class Scenes(nn.Module):
    outputs: int
    width: int

    @nn.compact
    def __call__(self, x, train=False):
        fine = Double(self.width, name="down1")(pixel_unshuffle(x, 2), train)
        middle = Double(2 * self.width, name="down2")(max_pool(fine, 2), train)
        coarse = Double(4 * self.width, name="down3")(max_pool(middle, 2), train)
        middle = Double(2 * self.width, name="up2")(jnp.concatenate([twice(coarse), middle], -1), train)
        fine = Double(self.width, name="up1")(jnp.concatenate([twice(middle), fine], -1), train)
        return pixel_shuffle(Conv(4 * self.outputs, 1, name="head")(fine), 2)


def twice(x):
    """x with every pixel repeated two by two."""
    return x.repeat(2, 1).repeat(2, 2)
