"""Plain convolutional nets: any [INPUT-CONV-RELU-POOL-FC] from a tuple, and All-CNN (Springenberg 2015)."""

from typing import Literal

import flax.linen as nn

from cnnjax import ops
from cnnjax.annotations import AtLeastOne, Count, Rate
from cnnjax.layers import Activation, Dense, Dropout, Initializer, Norm, Style, pooling
from cnnjax.models._network import Network, whole
from cnnjax.models._preset import preset
from cnnjax.ops.pooling import WindowKind
from cnnjax.refusals import refuse_misfits

_JS = (("conv", 16, 5), ("pool", 2), ("conv", 20, 5), ("pool", 2), ("conv", 20, 5), ("pool", 2))


Layers = tuple[tuple[Literal["conv", "pool", "dense"] | AtLeastOne, ...], ...]


def convnet(
    *,
    outputs: int,
    layers: Layers = (("conv", 32, 3), ("pool", 2), ("conv", 64, 3), ("pool", 2), ("dense", 128)),
    padding: Literal["same", "valid"] = "same",
    activation: Activation = "relu",
    pool: Literal[WindowKind, "none"] = "max",
    norm: Norm = "none",
    norm_group: Count = 0,
    momentum: Rate = 0.9,
    dropout: Rate = 0.0,
    init: Initializer = "he_normal",
) -> nn.Module:
    """A net of the `layers` in order, each activated, and an output layer.

    ("conv", features, window, stride) and ("pool", window, stride) may leave out what stands at the end: a window of 3
    and a stride of 1 for "conv", a stride that is the window for "pool". ("dense", features) flattens; dropout follows.
    `pool` "none" leaves poolings out and gives their stride to the convolution before. With padding "same" an even
    window looks further ahead than back. First weights: He's normal.
    """
    refuse_misfits(convnet, locals())
    style = Style(norm=norm, act=activation, init=init, group=norm_group, momentum=momentum)
    return ConvNet(outputs, _plan(layers, pool), padding, pool, dropout, style)


def _plan(layers, pool):
    """The layers with every number filled in."""
    plan = []
    for kind, *numbers in layers:
        most = {"conv": 3, "pool": 2, "dense": 1}[kind]
        if not 1 <= len(numbers) <= most:
            raise ValueError(f"layers has {(kind, *numbers)}; {kind!r} takes 1 to {most} numbers")
        numbers = [whole(f"layers has {(kind, *numbers)}, where a number", number) for number in numbers]
        if kind == "conv":
            plan.append(("conv", *numbers, *(3, 1)[len(numbers) - 1 :]))
        elif kind == "pool" and pool == "none":
            if not plan or plan[-1][0] != "conv":
                raise ValueError(f"pool is 'none', but no convolution before {(kind, *numbers)} can take its stride")
            plan[-1] = (*plan[-1][:3], plan[-1][3] * numbers[-1])
        else:
            plan.append((kind, *(numbers * 2 if kind == "pool" and len(numbers) == 1 else numbers)))
    return tuple(plan)


class ConvNet(Network):
    """Convolutions, poolings and dense layers in a row; the features are the activated maps of the convolutions."""

    outputs: int
    plan: tuple
    padding: str
    pool: str
    dropout: float
    style: Style

    @property
    def strides(self):
        total, strides = 1, []
        for kind, *numbers in self.plan:
            total *= numbers[-1] if kind != "dense" else 1
            if kind == "conv":
                strides.append(total)
        return tuple(strides)

    def setup(self):
        counts = {"conv": 0, "dense": 0, "pool": 0}
        for kind, features, *numbers in self.plan:
            n = counts[kind] = counts[kind] + 1
            if kind == "conv":
                window, stride = numbers
                centred = window // 2 if window % 2 else "same"
                padding = centred if self.padding == "same" else 0
                setattr(self, f"conv{n}", self.style.conv(features, window, bias=True, stride=stride, padding=padding))
                setattr(self, f"norm{n}", self.style.normalize())
            elif kind == "dense":
                setattr(self, f"dense{n}", Dense(features, kernel_init=self.style.init))
                setattr(self, f"dropout{n}", Dropout(self.dropout))
        if self.outputs:
            self.head = Dense(self.outputs, kernel_init=self.style.init)

    def _run(self, x, train):
        maps, convs, denses = {}, 0, 0
        for kind, *numbers in self.plan:
            if kind == "conv":
                convs += 1
                x = getattr(self, f"norm{convs}")(getattr(self, f"conv{convs}")(x), train)
                x = maps[f"conv{convs}"] = self.style.activate(x)
            elif kind == "pool":
                x = pooling(self.pool)(x, numbers[0], stride=numbers[1])
            else:
                denses += 1
                x = self.style.activate(getattr(self, f"dense{denses}")(ops.flat(x)))
                x = getattr(self, f"dropout{denses}")(x, train)
        return maps, ops.flat(x)

    def features(self, x, train=False):
        return self._run(x, train)[0]

    def __call__(self, x, train=False):
        x = self._run(x, train)[1]
        return self.head(x) if self.outputs else x


convnetjs_cifar10 = preset(
    convnet, "convnetjs_cifar10", "ConvNetJS's net for CIFAR-10: three 5×5 convolutions, each pooled.", layers=_JS
)


def all_cnn(
    *,
    outputs: int,
    model: Literal["A", "B", "C"] = "C",
    kind: Literal["base", "strided", "pool", "all"] = "all",
    width: AtLeastOne = 96,
    input_dropout: Rate = 0.2,
    dropout: Rate = 0.5,
    activation: Activation = "relu",
    norm: Norm = "none",
    norm_group: Count = 0,
    momentum: Rate = 0.9,
    pool: WindowKind = "max",
    init: Initializer = "he_normal",
) -> nn.Module:
    """The nets of "Striving for simplicity" (Springenberg 2015): two groups of convolutions, each halved, then 1×1s.

    model: "A" one 5×5 a group, "B" a 5×5 and a 1×1, "C" two 3×3. kind, how a group is halved: "base" by 3×3/2
    pooling (`pool` says which), "strided" by its last convolution, "pool" by another 3×3 convolution and pooling, "all"
    by a 3×3/2 convolution. Dropout stands on the input and after each halving. First weights: He's normal by fan-in.
    """
    refuse_misfits(all_cnn, locals())
    style = Style(norm=norm, act=activation, init=init, group=norm_group, momentum=momentum)
    return AllCNN(outputs, model, kind, width, input_dropout, dropout, pool, style)


class AllCNN(Network):
    """Convolutions alone, with the mean over all places at the end."""

    outputs: int
    model: str
    kind: str
    width: int
    input_dropout: float
    dropout: float
    pool: str
    style: Style

    @property
    def strides(self):
        return (2, 4)

    def _group(self):
        """Window, stride and whether pooling follows, of every convolution of a group."""
        plan = {"A": [5], "B": [5, 1], "C": [3, 3]}[self.model] + ([3] if self.kind in ("pool", "all") else [])
        strides = [1] * (len(plan) - 1) + [2 if self.kind in ("strided", "all") else 1]
        return tuple(zip(plan, strides, strict=True))

    def setup(self):
        self.dropout0 = Dropout(self.input_dropout)
        for group in (1, 2):
            for i, (window, stride) in enumerate(self._group(), 1):
                conv = self.style.conv(self.width * group, window, bias=True, stride=stride, padding=window // 2)
                setattr(self, f"conv{group}_{i}", conv)
                setattr(self, f"norm{group}_{i}", self.style.normalize())
            setattr(self, f"dropout{group}", Dropout(self.dropout))
        self.conv3_1 = self.style.conv(2 * self.width, 3, bias=True, padding=1)
        self.conv3_2 = self.style.conv(2 * self.width, 1, bias=True)
        self.norm3_1, self.norm3_2 = self.style.normalize(), self.style.normalize()
        if self.outputs:
            self.head = self.style.conv(self.outputs, 1, bias=True)

    def features(self, x, train=False):
        x, maps = self.dropout0(x, train), {}
        for group in (1, 2):
            for i in range(1, len(self._group()) + 1):
                x = getattr(self, f"norm{group}_{i}")(getattr(self, f"conv{group}_{i}")(x), train)
                x = self.style.activate(x)
            if self.kind in ("base", "pool"):
                x = pooling(self.pool)(x, 3, stride=2, padding=1)
            x = maps[f"group{group}"] = getattr(self, f"dropout{group}")(x, train)
        return maps

    def __call__(self, x, train=False):
        x = self.features(x, train)["group2"]
        x = self.style.activate(self.norm3_1(self.conv3_1(x), train))
        x = self.style.activate(self.norm3_2(self.conv3_2(x), train))
        x = self.head(x) if self.outputs else x
        return ops.global_pool(x, "avg")


def _sibling(name, kind, model):
    text = {
        "base": "max pooling",
        "strided": "strides for pooling",
        "pool": "convolution and pooling",
        "all": "strided convolutions for pooling",
    }[kind]
    return preset(all_cnn, name, f"Model {model} of Springenberg 2015 with {text}.", model=model, kind=kind)


base_cnn_a, base_cnn_b, base_cnn_c = (_sibling(f"base_cnn_{m.lower()}", "base", m) for m in "ABC")
strided_cnn_a, strided_cnn_b, strided_cnn_c = (_sibling(f"strided_cnn_{m.lower()}", "strided", m) for m in "ABC")
conv_pool_cnn_a, conv_pool_cnn_b, conv_pool_cnn_c = (_sibling(f"conv_pool_cnn_{m.lower()}", "pool", m) for m in "ABC")
all_cnn_a, all_cnn_b, all_cnn_c = (_sibling(f"all_cnn_{m.lower()}", "all", m) for m in "ABC")

__all__ = [
    "all_cnn",
    "all_cnn_a",
    "all_cnn_b",
    "all_cnn_c",
    "base_cnn_a",
    "base_cnn_b",
    "base_cnn_c",
    "conv_pool_cnn_a",
    "conv_pool_cnn_b",
    "conv_pool_cnn_c",
    "convnet",
    "convnetjs_cifar10",
    "strided_cnn_a",
    "strided_cnn_b",
    "strided_cnn_c",
]
