"""In which order a net learns the frequencies of what it is to fit (Rahaman 2019)."""

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from cnnjax.annotations import AtLeastOne, NonNegative, Positive
from cnnjax.refusals import refuse_misfits

__all__ = ["SpectralBias", "coordinate_net", "decoder_net", "picture_bias", "spectral_bias"]

Fitted = tuple[Callable[[Any, jax.Array], jax.Array], Any]
"""A net f(params, places (N, D)) → (N, C), and its first parameters."""


@dataclasses.dataclass(frozen=True)
class SpectralBias:
    """How much of each of K frequencies a fit has at S of its steps: `amplitudes` (S, K), 1 where it is all learned.

    `losses` (S,) are the mean squares of what is missing at the `steps` (S,); `frequencies` (K,) are in cycles over the
    whole, whose `target` and last `fit` stand at `places`: all (N,) of a sum of waves. Of a picture (H, W, C), with
    places (H, W, 2), they are bands, named by the middle radius, and the amplitude is what of the band is not wrong.
    """

    frequencies: np.ndarray
    steps: np.ndarray
    amplitudes: np.ndarray
    losses: np.ndarray
    places: np.ndarray
    target: np.ndarray
    fit: np.ndarray

    def learned(self, share: float = 0.8) -> np.ndarray:
        """The first of the steps (K,) at which each frequency has this share of its amplitude; infinite if none has."""
        there = self.amplitudes >= share
        return np.where(there.any(0), self.steps[there.argmax(0)].astype(float), np.inf)


def spectral_bias(
    key: jax.Array,
    f: Callable[[Any, jax.Array], jax.Array],
    params: Any,
    *,
    frequencies: Sequence[int] = (5, 10, 15, 20, 25, 30, 35, 40, 45, 50),
    amplitudes: Sequence[float] = (),
    points: AtLeastOne = 200,
    steps: AtLeastOne = 4000,
    lr: Positive = 3e-4,
    every: AtLeastOne = 100,
) -> SpectralBias:
    """What a net f(params, places (N, 1)) → (N,) or (N, 1) learns of a sum of sines of random phases, and when.

    The sum Σ amplitude · sin(2π frequency z + phase) at evenly spaced places in [0, 1), amplitudes 1 unless given, is
    fitted by full-batch Adam on squared errors from `params` on. Nets of rectifiers learn slow waves first, however
    large the fast ones are.
    """
    refuse_misfits(spectral_bias, {"points": points, "steps": steps, "lr": lr, "every": every})
    _refuse_remainder(every, steps)
    waves = np.asarray(frequencies)
    sizes = np.asarray(amplitudes if len(amplitudes) else np.ones(len(waves)), np.float64)
    if not np.issubdtype(waves.dtype, np.integer) or waves.ndim != 1 or waves.min() < 1 or 2 * waves.max() >= points:
        raise ValueError(f"frequencies are {waves.tolist()}; they must be whole, from 1 to less than {points / 2:g}")
    if sizes.shape != waves.shape or sizes.min() <= 0:
        raise ValueError(f"amplitudes are {sizes.tolist()}; they must be above 0, one for each of {len(waves)} waves")
    places = np.arange(points) / points  # without the end, so that each wave fits into the whole
    phases = np.asarray(jax.random.uniform(key, (len(waves),), maxval=2 * np.pi), np.float64)
    target = np.sin(2 * np.pi * places[:, None] * waves + phases) @ sizes

    def amplitudes_of(fit, target):
        return 2 / points * jnp.abs(jnp.fft.rfft(fit))[waves] / sizes

    found = _fitted(f, params, places[:, None], target, lr, measured=amplitudes_of, steps=steps, every=every)
    return SpectralBias(waves, found[0], found[1], found[2], places, target, found[3])


def picture_bias(
    f: Callable[[Any, jax.Array], jax.Array],
    params: Any,
    picture: np.ndarray,
    *,
    bands: AtLeastOne = 8,
    steps: AtLeastOne = 2000,
    lr: Positive = 1e-3,
    every: AtLeastOne = 50,
) -> SpectralBias:
    """What a net f(params, places (N, 2)) → (N, C) learns of a picture (H, W, C) by spatial frequency, and when.

    It is fitted as in `spectral_bias`, at the pixels' places in [0, 1), row by row. Of each of so many `bands` of the
    radial frequency, evenly wide up to half the shorter side, it says 1 less what is wrong over what is there (roots of
    their power in the band), and 0 where more is wrong than there is. The transform is that of cosines, which sees no
    edge where the picture's ends would meet.
    """
    refuse_misfits(picture_bias, {"bands": bands, "steps": steps, "lr": lr, "every": every})
    _refuse_remainder(every, steps)
    picture = np.asarray(picture, np.float32)
    if picture.ndim != 3 or min(picture.shape[:2]) < 2 * bands:
        raise ValueError(f"picture is {picture.shape}; it must be (H, W, C), of {2 * bands} pixels a side at least")
    height, width, channels = picture.shape
    rows, columns = np.arange(height) / height, np.arange(width) / width
    places = np.stack(np.meshgrid(rows, columns, indexing="ij"), -1)
    radius = np.hypot(np.arange(height)[:, None], np.arange(width)) / 2
    edges = np.linspace(0, min(height, width) / 2, bands + 1)
    inside = np.stack([(low < radius) & (radius <= high) for low, high in itertools.pairwise(edges)])

    def power(values):
        found = jax.scipy.fft.dctn(values.reshape(picture.shape), axes=(0, 1), norm="ortho")
        return jnp.einsum("khw,hwc->k", inside.astype(jnp.float32), found**2)

    def amplitudes_of(fit, target):
        return jnp.maximum(1 - jnp.sqrt(power(fit - target) / jnp.maximum(power(target), 1e-12)), 0)

    seen = places.reshape(-1, 2), picture.reshape(-1, channels)
    found = _fitted(f, params, *seen, lr, measured=amplitudes_of, steps=steps, every=every)
    middles = (edges[:-1] + edges[1:]) / 2
    return SpectralBias(middles, found[0], found[1], found[2], places, picture, found[3].reshape(picture.shape))


def coordinate_net(
    key: jax.Array,
    *,
    dimensions: AtLeastOne = 1,
    outputs: AtLeastOne = 1,
    widths: Sequence[int] = (256, 256, 256, 256, 256, 256),
    sigma: NonNegative = 0.0,
    features: AtLeastOne = 128,
) -> Fitted:
    """A net of rectifiers from places (N, dimensions) to values (N, outputs), and its first parameters.

    `spectral_bias` fits it as it is, `picture_bias` with two dimensions and the picture's channels. With a `sigma` it
    reads no places but the cosines and sines of so many `features` of them, waves whose frequencies are normal draws of
    that deviation, in cycles over the whole (Tancik 2020): fast ones then are learned as soon.
    """
    options = {"dimensions": dimensions, "outputs": outputs, "sigma": sigma, "features": features}
    refuse_misfits(coordinate_net, options)
    draw, *keys = jax.random.split(key, 2 + len(widths))
    waves = 2 * np.pi * sigma * np.asarray(jax.random.normal(draw, (dimensions, features)), np.float32)
    sizes = zip((2 * features if sigma else dimensions, *widths), (*widths, outputs), strict=True)
    params = [_layer(key, (a, b)) for key, (a, b) in zip(keys, sizes, strict=True)]

    def f(params, places):
        x = jnp.concatenate([jnp.cos(places @ waves), jnp.sin(places @ waves)], 1) if sigma else places
        for kernel, bias in params[:-1]:
            x = jax.nn.relu(x @ kernel + bias)
        return x @ params[-1][0] + params[-1][1]

    return f, params


def decoder_net(
    key: jax.Array,
    *,
    sizes: Sequence[int] = (200,),
    outputs: AtLeastOne = 1,
    width: AtLeastOne = 64,
    levels: AtLeastOne = 3,
) -> Fitted:
    """A convolutional decoder that makes a line or a picture of these `sizes` of noise that stays, row by row.

    As a deep image prior (Ulyanov 2018): so many `levels` of a convolution of three along each axis, a rectifier, and
    twice the points by interpolation, whatever places it is asked about. Parameters are as those of `coordinate_net`;
    the ends meet.
    """
    refuse_misfits(decoder_net, {"outputs": outputs, "width": width, "levels": levels})
    sizes, part = tuple(sizes), 2**levels
    if len(sizes) not in (1, 2) or any(size < part or size % part for size in sizes):
        raise ValueError(f"sizes are {sizes}; they must be one or two multiples of {part}, for {levels} levels")
    draw, *keys = jax.random.split(key, 2 + levels)
    noise = np.asarray(jax.random.normal(draw, (*(size // part for size in sizes), width)), np.float32)
    params = [
        *(_layer(each, (3 ** len(sizes) * width, width)) for each in keys[:-1]),
        _layer(keys[-1], (width, outputs)),
    ]

    def f(params, places):
        x = noise
        for kernel, bias in params[:-1]:
            seen = [jnp.roll(x, shift, range(len(sizes))) for shift in itertools.product((1, 0, -1), repeat=len(sizes))]
            x = jax.nn.relu(jnp.concatenate(seen, -1) @ kernel + bias)
            for axis in range(len(sizes)):
                between = (x + jnp.roll(x, -1, axis)) / 2
                x = jnp.stack([x, between], axis + 1).reshape(*x.shape[:axis], -1, *x.shape[axis + 1 :])
        return x.reshape(-1, width) @ params[-1][0] + params[-1][1]

    return f, params


def _layer(key, shape):
    """A kernel of Kaiming's and a bias that bends the line at places all over the whole."""
    kernel, bias = jax.random.split(key)
    return np.sqrt(2 / shape[0]) * jax.random.normal(kernel, shape), jax.random.uniform(bias, shape[1:]) - 0.5


def _refuse_remainder(every, steps):
    if steps % every:
        raise ValueError(f"every is {every}; it must divide the {steps} steps")


def _fitted(f, params, places, target, lr, *, measured, steps, every):
    """The steps (S,) at which is looked, what then is `measured` (S, K), the losses (S,), and the last fit."""
    optimizer = optax.adam(lr)

    @jax.jit
    def fitted(params, places, target):
        def given(params):
            return f(params, places).reshape(target.shape)

        def step(_, carry):
            params, state = carry
            gradient = jax.grad(lambda params: jnp.mean((given(params) - target) ** 2))(params)
            change, state = optimizer.update(gradient, state, params)
            return optax.apply_updates(params, change), state

        def stretch(carry, _):
            carry = lax.fori_loop(0, every, step, carry)
            fit = given(carry[0])
            return carry, (measured(fit, target), jnp.mean((fit - target) ** 2))

        (params, _), (found, losses) = lax.scan(stretch, (params, optimizer.init(params)), length=steps // every)
        return found, losses, given(params)

    found = fitted(params, np.asarray(places, np.float32), np.asarray(target, np.float32))
    return every * np.arange(1, steps // every + 1), *map(np.asarray, found)
