"""Sound as it is heard: spectra by bands of a mel scale, bands that are lost, speed and pitch."""

from collections.abc import Mapping
from typing import Literal

import jax
import jax.numpy as jnp

from cnnjax import ops
from cnnjax.annotations import AtLeastOne, Count, Factor, NonNegative, Positive, Rate, Share, Static
from cnnjax.augment._options import FLOATING, along, length_of, repainted, signed
from cnnjax.fields import KINDS, Facts, kind, of_kind
from cnnjax.ops.spectra import MelScale

__all__ = ["log_mel", "series_band_mask", "series_stretch", "series_tilt"]


def log_mel(
    key: jax.Array,
    facts: Facts,
    example: Mapping[str, jax.Array],
    *,
    bands: AtLeastOne = 40,
    window: Static[Positive] = 0.025,
    hop: Static[Positive] = 0.010,
    low: Static[NonNegative] = 0.0,
    high: Static[NonNegative] = 0.0,
    scale: MelScale = "slaney",
    reach: Positive = 80.0,
    standard: Literal["example", "band", "none"] = "example",
    rate: Count = 0,
) -> dict[str, jax.Array]:
    """A series of sound as its loudness by bands of a mel scale: (frames, bands) for each channel, beside each other.

    Frames of `window` seconds stand every `hop` seconds, the first about the first sample. Loudness is in decibels, at
    most `reach` below the loudest, and `standard` brings mean 0 and deviation 1 to all of it, or to every band.
    `rate`, samples a second, is that of the data (0). Bands go from `low` to `high` hertz (0: half the rate). What
    normalises the sound stands before; segments are those in the middle of each frame. It has no strength.
    """
    length = length_of("log_mel", example)
    own = rate or facts.extra.get("rate", 0)
    if not own:
        raise ValueError("augment.log_mel: nobody said how many samples of the series are a second; set its rate")
    wide, step = max(round(window * own), 1), max(round(hop * own), 1)
    points = 1 << (wide - 1).bit_length()  # a power of two is transformed fastest
    try:
        filters = ops.mel_filters(points // 2 + 1, bands, rate=float(own), low=low, high=high, scale=scale)
    except ValueError as error:
        raise ValueError(f"augment.log_mel.{error}") from None
    middles = jnp.minimum(jnp.arange(1 + length // step) * step, length - 1)
    changed = {name: example[name][middles] for name in along("log_mel", facts, example, length) if name != "series"}
    spectrum = ops.stft(jnp.moveaxis(example["series"], -1, 0), window=wide, hop=step, length=points)
    power = (jnp.square(spectrum.real) + jnp.square(spectrum.imag)) @ filters.astype("float32")
    level = ops.decibels(power, reach=reach)
    if standard != "none":
        axes = (-2, -1) if standard == "example" else -2
        spread = jnp.sqrt(jnp.var(level, axes, keepdims=True) + 1e-6)
        level = (level - level.mean(axes, keepdims=True)) / spread
    return example | changed | {"series": jnp.moveaxis(level, 0, 1).reshape(len(middles), -1)}


def series_band_mask(
    key: jax.Array,
    facts: Facts,
    example: Mapping[str, jax.Array],
    strength: jax.Array | float,
    *,
    share: Share = 0.25,
    fill: float = 0.0,
) -> dict[str, jax.Array]:
    """A run of neighbouring channels of the series, up to `share` of them, set to `fill` throughout (Park 2019).

    Behind `log_mel` these are bands; `series_mask` does the same to a stretch of time.
    """
    length_of("series_band_mask", example)
    channels = example["series"].shape[1]
    width, start = jax.random.uniform(key, (2,))
    hidden = jnp.floor(width * (jnp.floor(share * strength * channels + 1e-3) + 1))
    first = jnp.floor(start * (channels - hidden + 1))
    band = jnp.arange(channels)
    mask = (band >= first) & (band < first + hidden)
    return repainted(example, lambda x: jnp.where(mask, jnp.asarray(fill, x.dtype), x), of_kind("curve"))


def series_stretch(
    key: jax.Array,
    facts: Facts,
    example: Mapping[str, jax.Array],
    strength: jax.Array | float,
    *,
    factor: Factor = 1.15,
    fill: float = 0.0,
) -> dict[str, jax.Array]:
    """The series, and its segments, slower or faster about its middle, log-uniform in 1/factor … factor.

    Of sound this changes the pitch too, as of a larger or smaller speaker. Values between two steps lie on a straight
    line; what comes in at the ends is `fill`, segments 255. A forecast is refused: it follows the series' last step.
    """
    length = length_of("series_stretch", example)
    speed, middle = jnp.exp(jnp.log(factor) * strength * signed(key)), (length - 1) / 2
    place = middle + (jnp.arange(length) - middle) * speed
    inside = (place >= 0) & (place <= length - 1)
    low = jnp.clip(jnp.floor(place), 0, length - 1).astype(jnp.int32)
    share = jnp.clip(place - low, 0, 1)[:, None]

    def change(name, x):
        if name not in FLOATING:
            outside = KINDS[kind(name, x.ndim)].outside
            nearest = jnp.clip(jnp.round(place), 0, length - 1).astype(jnp.int32)
            there = inside.reshape(-1, *(1 for _ in x.shape[1:]))
            return jnp.where(there, x[nearest], jnp.asarray(outside, x.dtype))
        below, above = x[low], x[jnp.minimum(low + 1, length - 1)]
        return jnp.where(inside[:, None], below + share.astype(x.dtype) * (above - below), jnp.asarray(fill, x.dtype))

    return example | {name: change(name, example[name]) for name in along("series_stretch", facts, example, length)}


def series_tilt(
    key: jax.Array,
    facts: Facts,
    example: Mapping[str, jax.Array],
    strength: jax.Array | float,
    *,
    amount: Rate = 0.6,
) -> dict[str, jax.Array]:
    """The series with its highs louder and its lows softer, or the reverse, as another microphone would give it.

    Every value less a share, up to ± `amount`, of the one before: at 0.6 the highest frequency is up to 4 dB louder
    or 8 dB softer, the lowest the reverse.
    """
    length_of("series_tilt", example)
    share = amount * strength * signed(key)
    return repainted(example, lambda x: x - share.astype(x.dtype) * jnp.pad(x[:-1], ((1, 0), (0, 0))), of_kind("curve"))
