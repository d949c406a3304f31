"""Options that many entries share: how far, how new pixels look, which fields they change."""

from typing import Literal

import jax
import jax.numpy as jnp

Border = Literal["constant", "mean", "edge", "reflect"]
Method = Literal["bilinear", "cubic"]
Content = Literal["constant", "mean", "noise"]
INPUTS = ("image", "video", "series")


def outside(facts, border, fill, method="bilinear"):
    """The part of a move that says what its new pixels look like."""
    return {"border": border, "fill": jnp.asarray(facts.mean if border == "mean" else fill, float), "method": method}


def signed(key, shape=()):
    """Uniform draws from -1 … 1."""
    return jax.random.uniform(key, shape, minval=-1.0, maxval=1.0)


def happens(key, probability):
    """True with a (traced) probability: never at 0, always at 1."""
    return jax.random.uniform(key) < probability


def plane(example):
    """(height, width) of an example's image or video."""
    for name, axis in (("image", 0), ("video", 1)):
        if name in example:
            return example[name].shape[axis : axis + 2]
    raise ValueError(f"augmentation of pictures needs `image` or `video`; the batch has {', '.join(sorted(example))}")


def repainted(example, change, names=("image", "video")):
    """`example` with `change` done to its image or video (all frames of one alike)."""
    return {name: change(value) if name in names else value for name, value in example.items()}
