"""The networks that are measured, those of `torch_peer.py` layer by layer: one step of each does the same work.

Five are written once over a kit of layers: cnnjax's own, or plain Flax linen. The others are those of the zoo.
"""

import dataclasses
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from cnnjax import layers, models, ops
from cnnjax.config import ConfigError, entries, one_of


@dataclasses.dataclass(frozen=True)
class Kit:
    """What a network is made of: `conv`, `up`, `dense` give modules, `norm` is called (name, x), pools (x, window)."""

    conv: Callable
    up: Callable
    dense: Callable
    norm: Callable
    max_pool: Callable
    avg_pool: Callable


OURS = Kit(
    conv=lambda features, window, stride=1, padding=0, dilation=1, bias=True, name="": layers.Conv(
        features, window, stride, padding, dilation, bias=bias, name=name
    ),
    up=lambda features, name: layers.ConvTranspose(features, 2, 2, name=name),
    dense=lambda features, name: layers.Dense(features, name=name),
    norm=lambda name, x: layers.BatchNorm(name=name)(x, True),
    max_pool=lambda x, window: ops.max_pool(x, window),
    avg_pool=lambda x, window: ops.avg_pool(x, window),
)


class _LinenConv(nn.Module):
    """`nn.Conv` with one window size for as many dimensions as its input has."""

    features: int
    window: int
    stride: int
    padding: int
    dilation: int
    bias: bool
    dtype: str

    @nn.compact
    def __call__(self, x):
        n = x.ndim - 2
        return nn.Conv(
            self.features, (self.window,) * n, (self.stride,) * n, ((self.padding,) * 2,) * n,
            kernel_dilation=(self.dilation,) * n, use_bias=self.bias, dtype=self.dtype, name="conv",
        )(x)  # fmt: skip


def linen(dtype: str = "float32") -> Kit:
    """Plain Flax linen, computing in a dtype."""
    return Kit(
        conv=lambda features, window, stride=1, padding=0, dilation=1, bias=True, name="": _LinenConv(
            features, window, stride, padding, dilation, bias, dtype, name=name
        ),
        up=lambda features, name: nn.ConvTranspose(features, (2, 2), (2, 2), padding="VALID", dtype=dtype, name=name),
        dense=lambda features, name: nn.Dense(features, dtype=dtype, name=name),
        norm=lambda name, x: nn.BatchNorm(use_running_average=False, momentum=0.9, dtype=dtype, name=name)(x),
        max_pool=lambda x, window: nn.max_pool(x, (window,) * (x.ndim - 2), (window,) * (x.ndim - 2)),
        avg_pool=lambda x, window: nn.avg_pool(x, (window,) * (x.ndim - 2), (window,) * (x.ndim - 2)),
    )


class LeNet5(nn.Module):
    kit: Kit

    @nn.compact
    def __call__(self, x):
        kit = self.kit
        x = kit.avg_pool(nn.sigmoid(kit.conv(6, 5, padding=2, name="c1")(x)), 2)
        x = kit.avg_pool(nn.sigmoid(kit.conv(16, 5, name="c3")(x)), 2)
        x = x.reshape(x.shape[0], -1)
        for i, features in enumerate((120, 84)):
            x = nn.sigmoid(kit.dense(features, name=f"dense{i}")(x))
        return kit.dense(10, name="head")(x)


class ResNet18(nn.Module):
    """With the CIFAR stem: one 3×3 convolution, no pooling."""

    kit: Kit

    def _residual(self, x, features, stride, name):
        kit = self.kit
        y = kit.conv(features, 3, stride, 1, bias=False, name=f"{name}_conv1")(x)
        y = nn.relu(kit.norm(f"{name}_norm1", y))
        y = kit.norm(f"{name}_norm2", kit.conv(features, 3, 1, 1, bias=False, name=f"{name}_conv2")(y))
        if stride > 1 or x.shape[-1] != features:
            x = kit.norm(f"{name}_norm0", kit.conv(features, 1, stride, bias=False, name=f"{name}_conv0")(x))
        return nn.relu(x + y)

    @nn.compact
    def __call__(self, x):
        kit = self.kit
        x = nn.relu(kit.norm("stem_norm", kit.conv(64, 3, 1, 1, bias=False, name="stem")(x)))
        for stage in range(4):
            for block in range(2):
                stride = 2 if stage and not block else 1
                x = self._residual(x, 64 * 2**stage, stride, f"stage{stage}_block{block}")
        return kit.dense(10, name="head")(jnp.mean(x, (1, 2)))


class UNet(nn.Module):
    """Same-padded, with batch norm, half as wide as the paper's."""

    kit: Kit
    width: int = 32
    depth: int = 4

    def _double(self, x, features, name):
        for i in (1, 2):
            x = self.kit.conv(features, 3, padding=1, bias=False, name=f"{name}_conv{i}")(x)
            x = nn.relu(self.kit.norm(f"{name}_norm{i}", x))
        return x

    @nn.compact
    def __call__(self, x):
        kit, skips = self.kit, []
        for i in range(self.depth + 1):
            x = self._double(kit.max_pool(x, 2) if i else x, self.width * 2**i, f"down{i}")
            skips.append(x)
        for i in reversed(range(self.depth)):
            x = kit.up(self.width * 2**i, name=f"up{i}")(x)
            x = self._double(jnp.concatenate([skips[i], x], -1), self.width * 2**i, f"merge{i}")
        return kit.conv(2, 1, name="head")(x)


class TDNN(nn.Module):
    """One-dimensional convolutions over time (Waibel 1989), 40 features a frame."""

    kit: Kit

    @nn.compact
    def __call__(self, x):
        for i, (window, dilation) in enumerate(((5, 1), (3, 2), (3, 3), (1, 1))):
            x = self.kit.conv(256, window, dilation=dilation, name=f"conv{i}")(x)
            x = nn.relu(self.kit.norm(f"norm{i}", x))
        return self.kit.dense(10, name="head")(jnp.mean(x, 1))


class C3D(nn.Module):
    """Three 3×3×3 convolutions with pooling."""

    kit: Kit

    @nn.compact
    def __call__(self, x):
        for i, features in enumerate((32, 64, 128)):
            x = self.kit.conv(features, 3, padding=1, bias=False, name=f"conv{i}")(x)
            x = self.kit.max_pool(nn.relu(self.kit.norm(f"norm{i}", x)), 2)
        return self.kit.dense(10, name="head")(jnp.mean(x, (1, 2, 3)))


NETS = {  # name: (network, batch, shape of one example, classes, a label for each pixel)
    "lenet5": (LeNet5, 128, (28, 28, 1), 10, False),
    "resnet18_cifar": (ResNet18, 64, (32, 32, 3), 10, False),
    "unet": (UNet, 4, (128, 128, 3), 2, True),
    "tdnn": (TDNN, 64, (200, 40), 10, False),
    "c3d": (C3D, 4, (16, 56, 56, 3), 10, False),
}

_IMAGENET = (224, 224, 3)
ZOO = {  # name: (entry, batch, shape of one example)
    "mobilenet_v2": (models.mobilenet_v2, 8, _IMAGENET),
    "resnet50": (models.resnet50, 8, _IMAGENET),
    "densenet121": (models.densenet121, 4, _IMAGENET),
    "vgg11_bn": (models.vgg11_bn, 4, _IMAGENET),
    "googlenet": (models.googlenet, 8, _IMAGENET),
    "alexnet": (models.alexnet, 16, _IMAGENET),
}


def check(names: list[str]) -> None:
    """Raises a ConfigError for the first name that `network` does not know."""
    for name in names:
        entry, colon, batch = name.partition(":")
        one_of(entry, (*NETS, *ZOO, *(entries("models") if colon else ())), path="--nets")
        if colon and not (batch.isdecimal() and int(batch)):
            raise ConfigError(f"--nets has {name!r}; what follows the colon is a batch, as in {entry}:2")
        if colon and entry not in NETS and not _classifies(getattr(models, entry)(outputs=1000)):
            raise ConfigError(f"--nets has {name!r}; {entry} does not give one class for a picture of 224²")


def _classifies(net: nn.Module) -> bool:
    images = jax.ShapeDtypeStruct((1, *_IMAGENET), jnp.float32)
    try:
        outputs, _ = jax.eval_shape(lambda x: net.init_with_output(jax.random.key(0), x, train=False), images)
    except (ValueError, TypeError, AttributeError):  # it reads something else
        return False
    return getattr(outputs, "shape", ()) == (1, 1000)


def network(name: str, kit: Kit):
    """(net, batch, shape of an example, classes, a label for each pixel, options of init, options of apply).

    Of the two tables above, `name:batch` in another batch, or any other network of the zoo that reads 224².
    """
    entry, colon, batch = name.partition(":")
    if entry in NETS:
        build, usual, shape, classes, dense = NETS[entry]
        return build(kit), int(batch or usual), shape, classes, dense, {}, {}
    build, batch, shape = (getattr(models, entry), int(batch), _IMAGENET) if colon else ZOO[name]
    return build(outputs=1000), batch, shape, 1000, False, {"train": False}, {"train": True}
