"""Every entry of the room with an input that it takes, and a tiny member of each family."""

import functools
import inspect
import math

import jax
import jax.numpy as jnp
import numpy as np

from cnnjax.config import entries
from cnnjax.fields import Facts

ENTRIES = entries("models")

# whose tracing alone takes a second or more; they differ from their siblings in numbers only
DEEP = frozenset(
    {
        "convnext_base",
        "convnext_large",
        "convnext_small",
        "densenet",
        "densenet100_12",
        "densenet100_24",
        "densenet161",
        "densenet169",
        "densenet201",
        "densenet40_12",
        "densenet_bc100_12",
        "densenet_bc190_40",
        "densenet_bc250_24",
        "efficientnet",
        "efficientnet_b1",
        "efficientnet_b2",
        "efficientnet_b3",
        "efficientnet_b4",
        "efficientnet_lite1",
        "efficientnet_lite2",
        "googlenet_2014",
        "mobilenet_v3_large",
        "resnet101",
        "resnet101_v2",
        "resnet101d",
        "resnet110",
        "resnet152",
        "resnet152_v2",
        "resnet152d",
        "resnet32",
        "resnet34",
        "resnet34_v2",
        "resnet34d",
        "resnet44",
        "resnet50d",
        "resnet56",
        "resnext101_32x8d",
        "resnext101_64x4d",
        "resnext50_32x4d",
        "wide_resnet101_2",
        "wide_resnet50_2",
        "wrn16_8",
        "wrn28_10",
        "wrn28_2",
        "wrn40_2",
        "wrn40_4",
    }
)

_SHAPES = {
    "texts": (12,),
    "series": (48, 3),
    "pitches": (1024, 1),
    "videos": (16, 64, 64, 3),
    "lenets": (28, 28, 1),
    "gans": (28, 28, 1),
    "pairs": (28, 28, 1),
}
_NAMED = {"inception_v3": (107, 107, 3), "alexnet_2012": (99, 99, 3), "unet_2015": (204, 204, 1)}


def shape_of(name: str) -> tuple[int, ...]:
    """The shape of one example for an entry."""
    family = ENTRIES[name].__module__.rpartition(".")[2]
    return _NAMED.get(name) or _SHAPES.get(family, (64, 64, 3))


def like(shape: tuple[int, ...], dtype=jnp.float32):
    """The shape and type of so many examples; those of one axis are tokens."""
    return jax.ShapeDtypeStruct(shape, dtype if len(shape) > 2 else jnp.int32)


def outputs_of(name: str) -> int:
    return 1 if name == "dcgan" else 10


def built(name: str, shape: tuple[int, ...], **options):
    """The net of an entry for examples of a shape, which one that asks for the facts is told."""
    asks = next(iter(inspect.signature(ENTRIES[name]).parameters)) == "facts"
    words = {"words": [f"word{number}" for number in range(20)]} if len(shape) == 1 else {}
    facts = Facts("tokens" if words else "image", shape, extra=words)
    return ENTRIES[name](*[facts] * asks, **{"outputs": outputs_of(name), **options})


_TINIEST = ENTRIES["resnet"](outputs=0, blocks=(1, 1), width=4, stem="cifar", norm="none")

# one small net a family: entry, options that shrink it, shape of an example
TINY = {
    "mlp": ("mlp", {"hidden": (8, 6)}, (6, 6, 1)),
    "lenet5": ("lenet5", {"dropout": 0.1}, (28, 28, 1)),
    "lenet5_1998": ("lenet5_1998", {}, (28, 28, 1)),
    "convnet": ("convnet", {"layers": (("conv", 4, 3), ("pool", 2), ("dense", 8))}, (8, 8, 3)),
    "whitened_cnn": ("whitened_cnn", {"widths": (8,), "skip": True}, (13, 13, 3)),
    "all_cnn": ("all_cnn_c", {"width": 4}, (12, 12, 3)),
    "alexnet": ("alexnet", {"hidden": 8}, (63, 63, 3)),
    "vgg": ("vgg11_bn", {"blocks": (1, 2), "width": 2, "hidden": 8, "dropout": 0.0}, (32, 32, 3)),
    "resnet": ("resnet", {"blocks": (1, 1), "width": 4, "drop_path": 0.1}, (32, 32, 3)),
    "densenet": ("densenet", {"blocks": (2, 1), "growth": 4, "stem": "cifar", "stem_width": 8}, (8, 8, 3)),
    "unet": ("unet", {"width": 4, "depth": 1}, (12, 12, 3)),
    "fcn": ("fcn", {"backbone": "lenet5", "finest": 1, "dropout": 0.1}, (28, 28, 1)),
    "localizer": ("localizer", {"width": 4, "level": 1, "backbone": _TINIEST}, (8, 8, 3)),
    "detector": (
        "detector",
        {"width": 4, "depth": 1, "masks": 3, "levels": (2, 4), "backbone": _TINIEST},
        (8, 8, 3),
    ),
    "detector_turned": (
        "detector",
        {"width": 4, "depth": 1, "turned": True, "levels": (1, 2), "norm": "none", "backbone": _TINIEST},
        (8, 8, 3),
    ),
    "convnext": ("convnext", {"blocks": (1, 1), "width": 8, "patch": 2, "window": 3}, (16, 16, 3)),
    "tdnn": ("tdnn", {"layers": ((4, 3, 1), (4, 3, 2))}, (24, 3)),
    "resnet1d": ("resnet1d", {"width": 4, "blocks": (1, 2), "windows": (3, 2)}, (16, 2)),
    "c3d": ("c3d", {"stages": ((2,), (4,)), "hidden": (8,), "dropout": 0.0}, (4, 8, 8, 3)),
    "frames": ("frames", {"backbone": "lenet5"}, (3, 28, 28, 1)),
    "tcn": ("tcn", {"width": 4, "blocks": 2, "patch": 2, "linear": True, "dropout": 0.1}, (16, 2)),
    "pictured": ("pictured", {"backbone": "lenet5"}, (28, 28)),
    "textcnn": ("textcnn", {"windows": (2, 3), "width": 4, "size": 6, "tables": 2}, (12,)),
    "dcgan": ("dcgan", {"width": 4, "latent": 8}, (28, 28, 1)),
    "vae": ("vae", {"width": 4, "latent": 3}, (9, 12, 1)),
    "taught": ("taught", {"student": "mlp", "teacher": "mlp"}, (6, 6, 1)),
    "heatmaps": ("heatmaps", {"backbone": "lenet5", "width": 4, "stride": 2}, (28, 28, 1)),
    "deeppose": ("deeppose", {"backbone": "lenet5", "stages": 2, "crop": 16, "hidden": (8,)}, (28, 28, 1)),
}
# whose compilation takes longer than a quick test may
SLOW_TINY = {
    "resnet_bottleneck": (
        "resnet",
        {
            "blocks": (1, 1),
            "width": 4,
            "bottleneck": True,
            "groups": 2,
            "group_width": 32,
            "stem": "deep",
            "shortcut": "D",
        },
        (32, 32, 3),
    ),
    "wrn": ("wrn16_4", {"blocks": (1, 1), "width": 4, "block_dropout": 0.1}, (8, 8, 3)),
    "crepe": ("crepe", {"width": 1, "dropout": 0.1}, (256, 1)),
    "unet_backbone": ("unet", {"width": 4, "backbone": "lenet5", "up": "resize"}, (28, 28, 1)),
    "efficientnet": ("efficientnet", {"multiplier": 0.25, "depth": 0.1}, (32, 32, 3)),
    "r2plus1d": ("r2plus1d_18", {"blocks": (1, 1), "width": 4}, (4, 16, 16, 3)),
    "alexnet_2012": ("alexnet_2012", {"hidden": 8}, (67, 67, 3)),
    "googlenet": ("googlenet", {"auxiliary": True}, (64, 64, 3)),
    "googlenet_2014": ("googlenet_2014", {"auxiliary": True}, (64, 64, 3)),
    "inception_v3": ("inception_v3", {"auxiliary": True}, (299, 299, 3)),
    "mobilenet_v2": ("mobilenet_v2", {"multiplier": 0.25}, (32, 32, 3)),
    "mobilenet_v3": ("mobilenet_v3_small", {"multiplier": 0.5}, (32, 32, 3)),
}


def tiny(family: str, **changes):
    """The tiny net of a family and a batch of four examples."""
    name, options, shape = {**TINY, **SLOW_TINY}[family]
    net, draw = built(name, shape, **{**options, **changes}), np.random.default_rng(7)
    return net, draw.integers(1, 20, (4, *shape)) if len(shape) == 1 else draw.random((4, *shape), np.float32)


@functools.cache
def abstract_variables(net, shape, dtype=jnp.float32):
    """Shapes of the variables of a net for one example of a shape."""
    image = like((1, *shape), dtype)
    return jax.eval_shape(functools.partial(net.init, train=False), jax.random.key(0), image)


def flat(tree) -> dict:
    """Leaves by path."""
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {"/".join(key.key for key in path): leaf for path, leaf in leaves}


def filled(net, shape) -> dict:
    """Variables with sensible random numbers, made without compiling the net's own initialisation."""
    rng, values = np.random.default_rng(0), {}
    variables = abstract_variables(net, shape)
    for path, leaf in flat(variables).items():
        fan = math.prod(leaf.shape[:-1]) if len(leaf.shape) > 1 else 1
        noise = rng.normal(0, math.sqrt(2 / fan) if len(leaf.shape) > 1 else 0.1, leaf.shape)
        values[path] = np.float32(noise + path.endswith(("scale", "var")))
    leaves, structure = jax.tree_util.tree_flatten_with_path(variables)
    return jax.tree_util.tree_unflatten(structure, [values["/".join(k.key for k in path)] for path, _ in leaves])


def quickly(function, *arguments):
    """The compiled function, made for few runs: XLA's costly passes are left out."""
    options = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
    return jax.jit(function).lower(*arguments).compile(compiler_options=options)


def at_once(function, *arguments):
    """What the function gives, as one program."""
    return quickly(function, *arguments)(*arguments)
