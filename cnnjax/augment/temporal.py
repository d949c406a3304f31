"""Along time: series (T, C) and videos (T, H, W, C)."""

from typing import Literal

import jax
import jax.numpy as jnp

from cnnjax.annotations import AtLeastOne, Count, Factor, Share
from cnnjax.augment._options import repainted, signed

__all__ = ["series_mask", "series_scale", "series_shift", "temporal_crop"]


def _length(entry, example, names=("series",)):
    for name in names:
        if name in example:
            return example[name].shape[0]
    raise ValueError(f"augment.{entry} needs `{'` or `'.join(names)}`; the batch has {', '.join(sorted(example))}")


def series_shift(
    key,
    facts,
    example,
    strength,
    *,
    steps: Count = 8,
    border: Literal["constant", "edge", "wrap"] = "edge",
    fill: float = 0.0,
):
    """The series moved by up to `steps` whole steps either way; `border` is constant (`fill`), edge or wrap."""
    length = _length("series_shift", example)
    most = jnp.round(steps * strength)
    move = jnp.clip(jnp.floor((2 * most + 1) * jax.random.uniform(key)) - most, -most, most).astype(jnp.int32)
    source = jnp.arange(length) + move
    inside = (source >= 0) & (source < length)
    source = source % length if border == "wrap" else jnp.clip(source, 0, length - 1)

    def change(x):
        moved = x[source]
        return jnp.where(inside[:, None], moved, jnp.asarray(fill, x.dtype)) if border == "constant" else moved

    return repainted(example, change, ("series",))


def series_scale(key, facts, example, strength, *, factor: Factor = 1.25):
    """The series times a factor, log-uniform in 1/factor … factor, the same for all channels."""
    _length("series_scale", example)
    scale = jnp.exp(jnp.log(factor) * strength * signed(key))
    return repainted(example, lambda x: x * scale.astype(x.dtype), ("series",))


def series_mask(key, facts, example, strength, *, share: Share = 0.1, probability: Share = 1.0, fill: float = 0.0):
    """A stretch of up to `share` of the time set to `fill` in all channels."""
    length = _length("series_mask", example)
    width, start, chance = jax.random.uniform(key, (3,))
    hidden = jnp.round(width * share * strength * length) * (chance < probability)
    first = jnp.floor(start * (length - hidden + 1))
    time = jnp.arange(length)
    mask = (time >= first) & (time < first + hidden)
    return repainted(example, lambda x: jnp.where(mask[:, None], jnp.asarray(fill, x.dtype), x), ("series",))


def temporal_crop(key, facts, example, strength, *, frames: AtLeastOne = 16):
    """`frames` successive frames of a video or steps of a series; strength, at most 1, scales the way from the middle.

    With `strength = 0` it is the middle, for evaluation.
    """
    length = _length("temporal_crop", example, ("video", "series"))
    if not 0 < frames <= length:
        raise ValueError(f"augment.temporal_crop.frames is {frames}; it must be between 1 and the example's {length}")
    middle, room, strength = (length - frames) // 2, length - frames, jnp.minimum(strength, 1.0)
    low, high = middle - jnp.round(strength * middle), middle + jnp.round(strength * (room - middle))
    start = jnp.minimum(low + jnp.floor(jax.random.uniform(key) * (high - low + 1)), high).astype(jnp.int32)

    def change(x):
        return jax.lax.dynamic_slice_in_dim(x, start, frames)

    return repainted(example, change, ("video", "series"))
