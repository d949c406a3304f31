"""Tiny nets that give a vector, a map, stages, a second part's answer, a picture, a forecast."""

from typing import Annotated

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from cnnjax.layers import BatchNorm, Conv, Dense, Dropout
from cnnjax.models import detector, localizer
from cnnjax.ops import avg_pool

__all__ = [
    "around",
    "at_places",
    "autoencoder",
    "cascade",
    "causal",
    "dense",
    "frames",
    "glance",
    "in_one_box",
    "stages",
    "turned_at_places",
    "vector",
    "words",
]


def vector(*, outputs: int, width: int = 8, dropout: float = 0.1) -> nn.Module:
    """Outputs (B, K) of a picture, or a dict of them where several are asked for, `main` first."""
    return Vector(outputs, width, dropout)


class Vector(nn.Module):
    outputs: int | dict
    width: int
    dropout: float

    @nn.compact
    def __call__(self, x, train=False):
        x = nn.relu(BatchNorm(name="norm")(Conv(self.width, 3, 2, 1, name="conv")(x), train))
        x = Dropout(self.dropout)(avg_pool(x, 4), train).reshape(x.shape[0], -1)
        if isinstance(self.outputs, int):
            return Dense(self.outputs, name="head")(x) if self.outputs else x
        return {name: Dense(size, name=name)(x) for name, size in self.outputs.items()}


def dense(*, outputs: int, width: int = 8) -> nn.Module:
    """Maps (B, H/4, W/4, K), a dict of them where several are asked for."""
    return Maps(outputs, width)


class Maps(nn.Module):
    outputs: int | dict
    width: int

    @nn.compact
    def __call__(self, x, train=False):
        for i in (1, 2):
            x = nn.relu(BatchNorm(name=f"norm{i}")(Conv(self.width, 3, 2, 1, name=f"conv{i}")(x), train))
        if isinstance(self.outputs, int):
            return Conv(self.outputs, 1, name="head")(x)
        return {name: Conv(size, 1, name=name)(x) for name, size in self.outputs.items()}


def at_places(*, outputs: int, width: int = 4) -> nn.Module:
    """A class, a box and a mask at each of the places (B, 36, …) of a map at stride 4."""
    return detector(outputs=outputs, backbone=Halving(width), levels=(4,), width=8, depth=1, masks=4)


def turned_at_places(*, outputs: int, width: int = 4) -> nn.Module:
    """A class and a turned box in space at each of the places (B, 36, …) of a map at stride 4."""
    return detector(outputs=outputs, backbone=Halving(width), levels=(4,), width=8, depth=1, turned=True)


def in_one_box(*, outputs: int, width: int = 4) -> nn.Module:
    """A class (B, K) and a box (B, 1, 4), told at the places of a map at stride 4."""
    return localizer(outputs=outputs, backbone=Halving(width), level=4)


class Halving(nn.Module):
    """A backbone of two convolutions."""

    width: int
    strides = (2, 4)

    def setup(self):
        self.conv1, self.conv2 = (Conv(self.width, 3, 2, 1) for _ in self.strides)

    def features(self, x, train=False):
        fine = nn.relu(self.conv1(x))
        return {"fine": fine, "coarse": nn.relu(self.conv2(fine))}

    def __call__(self, x, train=False):
        return self.features(x, train)["coarse"]


def stages(*, outputs: int, width: int = 8, count: int = 2) -> nn.Module:
    """Coordinates (B, K·2) by stage: each stage sees the picture weighed by where the one before it pointed."""
    return Stages(outputs, width, count)


class Stages(nn.Module):
    outputs: int
    width: int
    count: int

    @nn.compact
    def __call__(self, x, train=False):
        found = {"main": Vector(self.outputs, self.width, 0.0, name="stage1")(x, train)}
        for i in range(2, self.count + 1):
            before = jax.lax.stop_gradient(found["main"])
            seen = jnp.concatenate([x, around(before, x.shape[1:3]).astype(x.dtype)], -1)
            step = Vector(self.outputs, self.width, 0.0, name=f"stage{i}")(seen, train)
            found = {"main": before + step, **found, f"stage{i - 1}": found["main"]}
        return found


def around(points, size):
    """Maps (B, H, W, 1): near 1 about the mean of points (B, K·2) in shares of the picture."""
    middle = points.reshape(len(points), -1, 2).mean(1)
    lines = [jnp.exp(-8 * (jnp.arange(n) / n - middle[:, i : i + 1]) ** 2) for i, n in enumerate(size)]
    return (lines[0][:, :, None] * lines[1][:, None, :])[..., None]


def cascade(*, outputs: int, width: int = 8) -> nn.Module:
    """A net (B, K) and, as the part `refine`, another that reads crops and says what to add."""
    return Cascade(Vector(outputs, width, 0.0), Vector(outputs, width, 0.0))


class Cascade(nn.Module):
    first: nn.Module
    refine: nn.Module

    def __call__(self, x, train=False):
        if self.is_initializing():
            self.refine(x[:, :12, :12], train)
        return self.first(x, train)


def autoencoder(facts, *, outputs: int, width: int = 16, latent: int = 4) -> nn.Module:
    """An encoder of pictures to means and log variances (B, 2, N), a decoder of (B, N) to logits of pictures."""
    return Autoencoder(facts.shape, outputs, width, latent)


class Autoencoder(nn.Module):
    shape: tuple
    outputs: int
    width: int
    latent: int

    def setup(self):
        self.down, self.up = Dense(2 * self.latent), [Dense(self.width), Dense(int(np.prod(self.shape)))]

    def encode(self, x, train=False):
        return self.down(x.reshape(x.shape[0], -1)).reshape(-1, 2, self.latent)

    def decode(self, z, train=False):
        return self.up[1](nn.relu(self.up[0](z))).reshape(-1, *self.shape)

    def __call__(self, x, train=False):
        return self.decode(self.encode(x)[:, 0])


def words(facts, *, outputs: int, width: int = 8) -> nn.Module:
    """Outputs (B, K) of tokens (B, T), by windows of three words of the data's vocabulary."""
    return Words(len(facts.extra["words"]), outputs, width)


class Words(nn.Module):
    vocabulary: int
    outputs: int
    width: int

    @nn.compact
    def __call__(self, x, train=False):
        known = nn.Embed(self.vocabulary, self.width, name="embedding")(x) * (x > 0)[..., None]
        return Dense(self.outputs, name="head")(nn.relu(Conv(self.width, (3,), name="window")(known)).max(1))


def causal(*, outputs: int, width: int = 8) -> nn.Module:
    """Outputs (B, K) at the last step of a series, which look back by 2, 4, 8 steps."""
    return Causal(outputs, width)


class Causal(nn.Module):
    outputs: int
    width: int

    @nn.compact
    def __call__(self, x, train=False):
        x = Dense(self.width, name="first")(x)
        for i in range(3):
            back = jnp.pad(x, ((0, 0), (2**i, 0), (0, 0)))[:, : x.shape[1]]
            x = x + nn.relu(Dense(self.width, name=f"back{i}")(jnp.concatenate([x, back], -1)))
        return Dense(self.outputs, name="head")(x[:, -1])


def frames(*, outputs: int, backbone: Annotated[str, "models"] = "tests.tasks.shapes_of_task:glance") -> nn.Module:
    """Outputs (B, K) of clips: a picture net on every frame, then a dense layer on all of them."""
    return Frames(outputs, backbone)


class Frames(nn.Module):
    outputs: int
    backbone: nn.Module

    @nn.compact
    def __call__(self, x, train=False):
        seen = self.backbone(x.reshape(-1, *x.shape[2:]), train)
        return Dense(self.outputs, name="head")(seen.reshape(x.shape[0], -1))


def glance(facts, *, outputs: int, width: int = 4) -> nn.Module:
    """Features (B, K) of a frame, from a net that must know how large it is."""
    return Glance(facts.shape[-3:-1], width)


class Glance(nn.Module):
    size: tuple
    width: int

    @nn.compact
    def __call__(self, x, train=False):
        if x.shape[1:3] != self.size:
            raise ValueError(f"a frame has {x.shape[1:3]} pixels; this net is for {self.size}")
        return nn.relu(Dense(self.width, name="dense")(x.reshape(x.shape[0], -1)))
