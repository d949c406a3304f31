"""Along time: series (T, C) and videos (T, H, W, C)."""

from collections.abc import Mapping
from typing import Literal

import jax
import jax.numpy as jnp

from cnnjax.annotations import AtLeastOne, Count, Factor, Share
from cnnjax.augment._options import FLOATING, along, carried, length_of, refuse, repainted, signed
from cnnjax.fields import KINDS, Facts, kind, of_kind

__all__ = ["series_mask", "series_scale", "series_shift", "temporal_crop"]


def series_shift(
    key: jax.Array,
    facts: Facts,
    example: Mapping[str, jax.Array],
    strength: jax.Array | float,
    *,
    steps: Count = 8,
    border: Literal["constant", "edge", "wrap"] = "edge",
    fill: float = 0.0,
) -> dict[str, jax.Array]:
    """The series, and its segments, moved by up to `steps` whole steps; `border` is constant (`fill`), edge or wrap.

    Segments are 255 where a constant border comes in. A forecast is refused: it follows the series' own last step.
    """
    length = length_of("series_shift", example)
    most = jnp.round(steps * strength)
    move = jnp.clip(jnp.floor((2 * most + 1) * jax.random.uniform(key)) - most, -most, most).astype(jnp.int32)
    source = jnp.arange(length) + move
    inside = (source >= 0) & (source < length)
    source = source % length if border == "wrap" else jnp.clip(source, 0, length - 1)

    def change(name, x):
        moved = x[source]
        if border != "constant":
            return moved
        outside = fill if name in FLOATING else KINDS[kind(name, x.ndim)].outside
        return jnp.where(inside.reshape(-1, *(1 for _ in x.shape[1:])), moved, jnp.asarray(outside, x.dtype))

    return example | {name: change(name, example[name]) for name in along("series_shift", facts, example, length)}


def series_scale(
    key: jax.Array,
    facts: Facts,
    example: Mapping[str, jax.Array],
    strength: jax.Array | float,
    *,
    factor: Factor = 1.25,
) -> dict[str, jax.Array]:
    """The series, and a `target` of values in its unit, times a factor, log-uniform in 1/factor … factor.

    The factor is the same for all channels. Where the series was normalised before, the target (in the data's unit)
    follows by what `facts.black` and `facts.white` have become.
    """
    length_of("series_scale", example)
    scale = jnp.exp(jnp.log(factor) * strength * signed(key))
    scaled = dict(example)
    for name, treatment in carried("series_scale", facts, example, "scale", verb="scale").items():
        x = example[name]
        if treatment == "scaled":
            scaled[name] = x * scale.astype(x.dtype)
            if any(facts.black) and name not in FLOATING:
                if x.shape[-1] != len(facts.black):
                    what = f"{x.shape[-1]} channels where the series has {len(facts.black)}"
                    refuse("series_scale", name, f"of {what}: name series_scale before normalize")
                zero = jnp.asarray(facts.black, x.dtype) / (
                    jnp.asarray(facts.white, x.dtype) - jnp.asarray(facts.black, x.dtype)
                )
                scaled[name] += (scale.astype(x.dtype) - 1) * zero
    return scaled


def series_mask(
    key: jax.Array,
    facts: Facts,
    example: Mapping[str, jax.Array],
    strength: jax.Array | float,
    *,
    share: Share = 0.1,
    probability: Share = 1.0,
    fill: float = 0.0,
) -> dict[str, jax.Array]:
    """A stretch of up to `share` of the time set to `fill` in all channels; every label stays, the stretch's too."""
    length = length_of("series_mask", example)
    width, start, chance = jax.random.uniform(key, (3,))
    hidden = jnp.round(width * share * strength * length) * (chance < probability)
    first = jnp.floor(start * (length - hidden + 1))
    time = jnp.arange(length)
    mask = (time >= first) & (time < first + hidden)
    return repainted(example, lambda x: jnp.where(mask[:, None], jnp.asarray(fill, x.dtype), x), of_kind("curve"))


def temporal_crop(
    key: jax.Array,
    facts: Facts,
    example: Mapping[str, jax.Array],
    strength: jax.Array | float,
    *,
    frames: AtLeastOne = 16,
) -> dict[str, jax.Array]:
    """`frames` successive frames of a video or steps of a series, and their segments.

    Strength, at most 1, scales the way from the middle: with `strength = 0` it is the middle, for evaluation. A
    `target` of values is refused, for it may be of the frames left out or follow the last.
    """
    length = length_of("temporal_crop", example, ("video", "series"))
    if not 0 < frames <= length:
        raise ValueError(f"augment.temporal_crop.frames is {frames}; it must be between 1 and the example's {length}")
    middle, room, strength = (length - frames) // 2, length - frames, jnp.minimum(strength, 1.0)
    low, high = middle - jnp.round(strength * middle), middle + jnp.round(strength * (room - middle))
    start = jnp.minimum(low + jnp.floor(jax.random.uniform(key) * (high - low + 1)), high).astype(jnp.int32)
    timed = along("temporal_crop", facts, example, length)
    return example | {name: jax.lax.dynamic_slice_in_dim(example[name], start, frames) for name in timed}
