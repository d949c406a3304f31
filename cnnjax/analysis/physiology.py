"""Hubel and Wiesel's experiment on the units of a net: gratings are shown to them, then noise, and answers recorded."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.tree_util import Partial

from cnnjax.analysis._functions import Answers, as_function, compiled
from cnnjax.analysis.objectives import middle
from cnnjax.analysis.receptive import Field
from cnnjax.annotations import AtLeastOne, Positive
from cnnjax.refusals import refuse_misfits

__all__ = ["Electrophysiology", "SpikeTriggered", "electrophysiology", "grating", "spike_triggered_average"]

_LIVE = 1e-6  # what a unit answers to its best grating, as a part of what the liveliest does
_AT_ONCE = 8  # pictures


@dataclasses.dataclass(frozen=True)
class Electrophysiology:
    """What U units answer to gratings of O orientations, F frequencies (cycles in a pixel) and P phases.

    `responses` (O, F, P, U) are how far each rose above `spontaneous` (U,), the answer to grey, 0 where it fell. Of
    each unit: the `orientation` (radians, of the way the wave runs, 0 along x) and `frequency` of the grating of the
    highest mean over phases; its `tuning` (O, U), that mean by orientation at this frequency, and `phasing` (P, U), the
    answer to its grating by phase; `circular_variance`, 0 of one orientation alone to 1 of all alike (Ringach 2002);
    and `modulation`, F1/F0, how its answer swings with the phase as a part of its mean: above 1 is a simple cell, which
    minds where the bars lie, below a complex one (Skottun 1991). NaN where no grating moved the unit, which is not
    `live`.
    """

    orientations: np.ndarray
    frequencies: np.ndarray
    phases: np.ndarray
    responses: np.ndarray
    spontaneous: np.ndarray
    live: np.ndarray
    orientation: np.ndarray
    frequency: np.ndarray
    tuning: np.ndarray
    phasing: np.ndarray
    circular_variance: np.ndarray
    modulation: np.ndarray


def electrophysiology(
    f: Answers,
    field: Field,
    shape: tuple[int, ...],
    *,
    orientations: AtLeastOne = 12,
    cycles: Sequence[float] = (),
    phases: AtLeastOne = 8,
    contrast: float = 1.0,
    aperture: Positive = 1.0,
    above: Literal["grey", "zero"] = "grey",
) -> Electrophysiology:
    """What the units in the middle of a map answer to gratings in their receptive field, on images of shape (H, W, C).

    `f` is a function of images (B, H, W, C) in [0, 1] to maps (B, *sizes, U) or outputs (B, U), as `map_of` gives it;
    `field` is that of the map in `receptive_fields`. The gratings stand in a round aperture of so many fields, grey
    around it, and have so many `cycles` along a field: six from a half to 8 unless given, none finer than 0.45 cycles
    in a pixel, for what is finer than the field is what its units tell apart. Answers are counted `above` those to
    grey, or above zero: a unit that answers to grey is then less tuned and less of a simple cell.
    """
    given = {"orientations": orientations, "phases": phases, "aperture": aperture, "above": above}
    refuse_misfits(electrophysiology, given)
    blank = _blank(shape)
    f = as_function(f, blank)
    center, side = _place(f, field, blank)
    cycles = np.asarray(cycles if len(cycles) else np.geomspace(0.5, max(min(8, 0.45 * side), 0.5), 6), np.float64)
    frequencies = cycles / side
    if frequencies.min() <= 0 or frequencies.max() > 0.5:
        raise ValueError(
            f"cycles are {cycles.tolist()} in a field of {side:g} pixels; they must be above 0 and at most "
            f"{side / 2:g}, half a cycle in a pixel"
        )
    angles, turns = np.pi * np.arange(orientations) / orientations, 2 * np.pi * np.arange(phases) / phases
    shown = np.stack(np.meshgrid(angles, frequencies, turns, indexing="ij"), -1).reshape(-1, 3)
    rows = np.concatenate([shown, np.zeros((-len(shown) % _AT_ONCE, 3))]).reshape(-1, _AT_ONCE, 3)
    radius, contrast = np.float32(aperture * side / 2), np.float32(contrast)
    found, spontaneous = compiled(_shown, f, blank, rows.astype(np.float32), center, radius, contrast)
    raw = np.asarray(found, np.float64).reshape(rows.size // 3, -1)[: len(shown)]
    raw = raw.reshape(orientations, len(cycles), phases, -1)
    spontaneous = np.asarray(spontaneous, np.float64)
    return _recorded(angles, frequencies, turns, raw - (spontaneous if above == "grey" else 0), spontaneous)


def _blank(shape: tuple[int, ...]) -> jax.Array:
    if len(shape) != 3:
        raise ValueError(f"shape is {shape}; it must be that of one image: height, width, channels")
    return jnp.full((_AT_ONCE, *shape), 0.5, jnp.float32)


def _place(f: Partial, field: Field, blank: jax.Array) -> tuple[np.ndarray, float]:
    """The middle (2,) of the field of the middle unit, and its side, both in pixels; of a field that is larger than the
    image the image's."""
    sizes = blank.shape[1:-1]
    shape = jax.eval_shape(f, blank).shape
    places = [size // 2 for size in shape[1:-1]] or [0, 0]
    axes = zip(field.size, field.stride, field.start, places, sizes, strict=True)
    center = [
        (size - 1) / 2 if math.isinf(side) or math.isinf(stride) else start + stride * place + (side - 1) / 2
        for side, stride, start, place, size in axes
    ]
    return np.asarray(center, np.float32), float(min(*field.size, *sizes))


def _shown(f, blank, rows, center, radius, contrast):
    """What the middle units answer to gratings (R, B, 3), (R, B, U), and to grey (U,)."""
    sizes = blank.shape[1:-1]

    def asked(row):
        drawn = jax.vmap(lambda told: grating(sizes, *told, center=center, radius=radius, contrast=contrast))(row)
        return middle(f(jnp.broadcast_to(drawn[..., None], blank.shape)))

    return lax.map(asked, rows), middle(f(blank))[0]


def grating(
    sizes: tuple[int, int],
    orientation: jax.Array | float,
    frequency: jax.Array | float,
    phase: jax.Array | float,
    *,
    center: jax.Array | Sequence[float] = (),
    radius: jax.Array | float = math.inf,
    contrast: jax.Array | float = 1.0,
) -> jax.Array:
    """A picture (H, W) in [0, 1]: 0.5 + contrast / 2 · cos(2π frequency u + phase) within a disc, grey around it.

    u runs in the direction of `orientation`, from x towards y as in `ops.gabor`, from the `center` (y, x), the middle
    of the picture unless given; `frequency` is in cycles in a pixel. The disc's edge is a pixel wide.
    """
    center = jnp.asarray(center if len(center) else [(size - 1) / 2 for size in sizes], jnp.float32)
    y, x = jnp.arange(sizes[0])[:, None] - center[0], jnp.arange(sizes[1]) - center[1]
    u = x * jnp.cos(orientation) + y * jnp.sin(orientation)
    inside = jnp.clip(radius + 0.5 - jnp.sqrt(x**2 + y**2), 0, 1)
    return 0.5 + contrast / 2 * inside * jnp.cos(2 * jnp.pi * frequency * u + phase)


def _recorded(angles, frequencies, turns, raw, spontaneous):
    responses = np.maximum(raw, 0)
    rate = responses.mean(2)  # F0 (O, F, U)
    units = np.arange(rate.shape[-1])
    best = rate.reshape(-1, len(units)).argmax(0)
    o, n = np.unravel_index(best, rate.shape[:2])
    tuning, phasing = rate[:, n, units], responses[o, n, :, units].T
    most = rate[o, n, units]
    live = most > _LIVE * max(float(most.max()), 1e-30)
    with np.errstate(invalid="ignore", divide="ignore"):
        variance = 1 - np.abs(np.exp(2j * angles) @ tuning) / tuning.sum(0)
        swing = 2 * np.abs(np.exp(-1j * turns) @ phasing) / len(turns) / most
    unknown = lambda values: np.where(live, values, np.nan)  # noqa: E731
    return Electrophysiology(
        angles, frequencies, turns, responses, spontaneous, live, orientation=unknown(angles[o]),
        frequency=unknown(frequencies[n]), tuning=tuning, phasing=phasing, circular_variance=unknown(variance),
        modulation=unknown(swing),
    )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class SpikeTriggered:
    """The mean of what was shown to each of U units, by how it answered: `average` (U, h, w, C), around grey.

    `spikes` (U,) is the mean answer; where it is 0 there is no average: NaN.
    """

    average: np.ndarray
    spikes: np.ndarray


def spike_triggered_average(
    key: jax.Array,
    f: Answers,
    field: Field,
    shape: tuple[int, ...],
    *,
    images: AtLeastOne = 2048,
    deviation: Positive = 0.25,
) -> SpikeTriggered:
    """The average noise that makes the middle units of a map answer, (U, h, w, C), on images of shape (H, W, C).

    White noise of a deviation fills the units' field, grey around it. Of a unit that weighs its pixels and rectifies
    the sum it is, but for a factor, these weights (Bussgang); of a complex cell, which takes light and dark alike,
    nothing is left. `f` and `field` are as for `electrophysiology`.
    """
    refuse_misfits(spike_triggered_average, {"images": images, "deviation": deviation})
    blank = _blank(shape)
    f = as_function(f, blank)
    center, side = _place(f, field, blank)
    spans = [_span(middle, side, size) for middle, size in zip(center, shape[:2], strict=True)]
    keys = jax.random.split(key, math.ceil(images / _AT_ONCE))
    corner = np.array([low for low, _ in spans])
    sides = tuple(high - low for low, high in spans)
    total, spikes = compiled(_averaged, f, blank, keys, corner, np.float32(deviation), sides=sides)
    total, spikes = np.asarray(total, np.float64), np.asarray(spikes, np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        average = np.moveaxis(total / spikes, -1, 0)
    return SpikeTriggered(average, spikes / (len(keys) * _AT_ONCE))


def _span(center: float, side: float, size: int) -> tuple[int, int]:
    """The pixels of a field along one axis that lie in the image."""
    low = round(float(center) - (side - 1) / 2)
    return max(low, 0), min(low + int(side), size)


def _averaged(f, blank, keys, corner, deviation, *, sides):
    """Σ answer · noise (*sides, C, U) and Σ answer (U,); answers are above that to grey, none below 0."""
    grey = middle(f(blank))[0]

    def step(sums, key):
        noise = deviation * jax.random.normal(key, (len(blank), *sides, blank.shape[-1]))
        images = lax.dynamic_update_slice(blank, 0.5 + noise, (0, *corner, 0))
        rate = jnp.maximum(middle(f(images)) - grey, 0)
        return (sums[0] + jnp.einsum("bhwc,bu->hwcu", noise, rate), sums[1] + rate.sum(0)), None

    units = grey.shape[0]
    start = jnp.zeros((*sides, blank.shape[-1], units)), jnp.zeros(units)
    return lax.scan(step, start, keys)[0]
