"""Whether this device computes what float64 on the CPU computes: outputs, gradients, augmentation."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from cnnjax import models
from cnnjax.augment import compose
from experiments.benchmarks.accelerator.figures import Told
from experiments.benchmarks.augment import FACTS, OPTIONS, OURS

_FAMILIES = {  # one small net a family, without noise: entry, options, shape of an example
    "lenet5": ({}, (28, 28, 1)),
    "resnet": ({"blocks": (1, 1), "width": 8}, (32, 32, 3)),
    "whitened_cnn": ({"widths": (8, 8)}, (14, 14, 3)),
    "unet": ({"width": 8, "depth": 2}, (16, 16, 3)),
    "c3d": ({"stages": ((4,), (8,)), "hidden": (8,), "dropout": 0.0}, (4, 8, 8, 3)),
    "tdnn": ({"layers": ((8, 3, 1), (8, 3, 2))}, (24, 4)),
    "mobilenet_v2": ({"multiplier": 0.25, "dropout": 0.0}, (96, 96, 3)),
    "densenet": ({"blocks": (2, 2), "growth": 8, "stem": "cifar", "stem_width": 8}, (8, 8, 3)),
    "convnext": ({"blocks": (1, 1), "width": 8, "patch": 2, "window": 3, "drop_path": 0.0}, (16, 16, 3)),
    "vgg11_bn": ({"width": 8, "hidden": 8, "dropout": 0.0}, (32, 32, 3)),
    "alexnet": ({"hidden": 8, "dropout": 0.0}, (63, 63, 3)),
    "efficientnet": ({"multiplier": 0.25, "depth": 0.1, "dropout": 0.0, "drop_path": 0.0}, (96, 96, 3)),
    "googlenet": ({"dropout": 0.0}, (64, 64, 3)),
    "all_cnn_c": ({"width": 8, "dropout": 0.0}, (12, 12, 3)),
}
_BOUNDS = {"float32": (1e-4, 1e-3), "bfloat16": (0.05, 0.25)}  # of outputs, of gradients: parts of their norm


def agreement(told: Told, *, tiny: bool, peer: str) -> None:
    """Relative distances of outputs and gradients of a net of each family, in float32 without TF32 and in bfloat16."""
    for name in ("lenet5",) if tiny else _FAMILIES:
        options, shape = _FAMILIES[name]
        net = getattr(models, name)(outputs=10, **options)
        for precision, found in distances(net, shape).items():
            for what, distance, bound in zip(("outputs", "gradients"), found, _BOUNDS[precision], strict=True):
                told(f"{name}, {precision}: {what}", distance, "of the norm", at_most=bound, everywhere=True)
    for name in ("cifar",) if tiny else OURS:
        names, _, side = OURS[name]
        told(f"augmented as {name}: furthest", _moved(names, 32 if tiny else side), "of 0 to 255", at_most=0.5)


def distances(net, shape: tuple[int, ...]) -> dict[str, tuple[float, float]]:
    """(outputs', gradients') distance from float64 on the CPU as parts of their norm, by precision."""
    numbers = np.random.default_rng(0)
    like = jax.eval_shape(functools.partial(net.init, train=False), jax.random.key(0), jnp.zeros((1, *shape)))
    variables = jax.tree_util.tree_map_with_path(functools.partial(_drawn, numbers), like)
    x = numbers.normal(size=(8, *shape))
    with jax.enable_x64(True):
        wide = jax.device_put((jax.tree.map(np.float64, variables), x), jax.devices("cpu")[0])
        exact = jax.device_get(jax.jit(functools.partial(_passes, net, "float64"))(*wide))
    narrow = jax.device_put((variables, np.float32(x)), jax.devices()[0])
    found = {}
    for precision in _BOUNDS:
        with jax.default_matmul_precision("highest"):
            here = jax.device_get(jax.jit(functools.partial(_passes, net, precision))(*narrow))
        found[precision] = tuple(_distance(one, other) for one, other in zip(here, exact, strict=True))
    return found


def _passes(net, precision: str, variables, x):
    """(outputs, gradients of their squares) as in training, outputs and sums in float32 at least."""
    wide = jnp.promote_types(precision, jnp.float32)
    rest = {name: value for name, value in variables.items() if name != "params"}

    def loss(params):
        outputs, _ = net.apply({"params": params, **rest}, x.astype(precision), train=True, mutable=list(rest))
        outputs = outputs.astype(wide)
        return jnp.sum(jnp.square(outputs)), outputs

    gradients, outputs = jax.grad(loss, has_aux=True)(variables["params"])
    return outputs, gradients


def _drawn(numbers: np.random.Generator, path: tuple, leaf: jax.ShapeDtypeStruct) -> np.ndarray:
    """He's normal kernels, scales and variances about 1, small biases and means."""
    deviation = math.sqrt(2 / math.prod(leaf.shape[:-1])) if len(leaf.shape) > 1 else 0.1
    ones = path[-1].key in ("scale", "var")
    return np.float32(numbers.normal(float(ones), deviation, leaf.shape))


def _distance(here, exact) -> float:
    pairs = zip(jax.tree.leaves(here), jax.tree.leaves(exact), strict=True)
    apart, whole = np.sum([(np.sum((np.float64(a) - b) ** 2), np.sum(b**2)) for a, b in pairs], 0)
    return float(np.sqrt(apart / whole))


def _moved(names: tuple[str, ...], side: int) -> float:
    """The largest distance between what this device and the CPU make of the same pictures with the same keys."""
    rows = np.arange(side)
    wave = np.sin(rows[:, None, None] / 5) + np.cos(rows[None, :, None] / 7 + np.arange(3))  # smooth: no edge to miss
    images = np.uint8(127 + 60 * wave)[None].repeat(8, 0)
    apply = compose(FACTS, names, OPTIONS)
    found = []
    for device in (jax.devices()[0], jax.devices("cpu")[0]):
        key, batch = jax.device_put((jax.random.key(0), {"image": images}), device)
        found.append(np.asarray(jax.jit(apply)(key, batch)["image"]))
    return 255 * float(np.abs(found[0] - found[1]).max())
