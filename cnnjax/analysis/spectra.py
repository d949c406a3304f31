"""In which order a net learns the frequencies of what it is to fit (Rahaman 2019)."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from cnnjax.annotations import AtLeastOne, NonNegative, Positive
from cnnjax.refusals import refuse_misfits

__all__ = ["SpectralBias", "coordinate_net", "decoder_net", "spectral_bias"]

Fitted = tuple[Callable[[Any, jax.Array], jax.Array], Any]
"""A net f(params, places (N, 1)) → (N, 1), and its first parameters."""


@dataclasses.dataclass(frozen=True)
class SpectralBias:
    """How much of each of K frequencies a fit has at S of its steps: `amplitudes` (S, K), 1 where it is all learned.

    `losses` (S,) are the mean squares of what is missing at the `steps` (S,); `frequencies` (K,) are in cycles over the
    whole, whose `target` (N,) and last `fit` (N,) stand at `places` (N,).
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
    waves = np.asarray(frequencies)
    sizes = np.asarray(amplitudes if len(amplitudes) else np.ones(len(waves)), np.float64)
    if not np.issubdtype(waves.dtype, np.integer) or waves.ndim != 1 or waves.min() < 1 or 2 * waves.max() >= points:
        raise ValueError(f"frequencies are {waves.tolist()}; they must be whole, from 1 to less than {points / 2:g}")
    if sizes.shape != waves.shape or sizes.min() <= 0:
        raise ValueError(f"amplitudes are {sizes.tolist()}; they must be above 0, one for each of {len(waves)} waves")
    if steps % every:
        raise ValueError(f"every is {every}; it must divide the {steps} steps")
    places = np.arange(points) / points  # without the end, so that each wave fits into the whole
    phases = np.asarray(jax.random.uniform(key, (len(waves),), maxval=2 * np.pi), np.float64)
    target = np.sin(2 * np.pi * places[:, None] * waves + phases) @ sizes

    @jax.jit
    def fitted(params, places, target, lr):
        return _fitted(f, params, places, target, lr, waves=waves, steps=steps, every=every)

    seen = np.asarray(places[:, None], np.float32), np.asarray(target, np.float32)
    found, losses, fit = fitted(params, *seen, np.float32(lr))
    at = every * np.arange(1, steps // every + 1)
    return SpectralBias(waves, at, np.asarray(found) / sizes, np.asarray(losses), places, target, np.asarray(fit))


def coordinate_net(
    key: jax.Array,
    *,
    widths: Sequence[int] = (256, 256, 256, 256, 256, 256),
    sigma: NonNegative = 0.0,
    features: AtLeastOne = 128,
) -> Fitted:
    """A net of rectifiers from places (N, 1) to values (N, 1) for `spectral_bias`, and its first parameters.

    With a `sigma` it reads no places but the cosines and sines of so many `features` of them, waves whose frequencies
    are normal draws of that deviation, in cycles over the whole (Tancik 2020): fast ones then are learned as soon.
    """
    refuse_misfits(coordinate_net, {"sigma": sigma, "features": features})
    draw, *keys = jax.random.split(key, 2 + len(widths))
    waves = 2 * np.pi * sigma * np.asarray(jax.random.normal(draw, (1, features)), np.float32)
    sizes = zip((2 * features if sigma else 1, *widths), (*widths, 1), strict=True)
    params = [_layer(key, (a, b)) for key, (a, b) in zip(keys, sizes, strict=True)]

    def f(params, places):
        x = jnp.concatenate([jnp.cos(places @ waves), jnp.sin(places @ waves)], 1) if sigma else places
        for kernel, bias in params[:-1]:
            x = jax.nn.relu(x @ kernel + bias)
        return x @ params[-1][0] + params[-1][1]

    return f, params


def decoder_net(key: jax.Array, *, points: AtLeastOne = 200, width: AtLeastOne = 64, levels: AtLeastOne = 3) -> Fitted:
    """A convolutional decoder that makes `points` values of noise that stays, whatever places it is asked about.

    As a deep image prior (Ulyanov 2018): so many `levels` of a convolution of three, a rectifier, and twice the points
    by interpolation. Parameters are as those of `coordinate_net`; the ends meet.
    """
    refuse_misfits(decoder_net, {"points": points, "width": width, "levels": levels})
    if points % 2**levels:
        raise ValueError(f"points is {points}; it must be a multiple of {2**levels}, for {levels} levels")
    draw, *keys = jax.random.split(key, 2 + levels)
    noise = np.asarray(jax.random.normal(draw, (points // 2**levels, width)), np.float32)
    params = [*(_layer(each, (3 * width, width)) for each in keys[:-1]), _layer(keys[-1], (width, 1))]

    def f(params, places):
        x = noise
        for kernel, bias in params[:-1]:
            x = jax.nn.relu(jnp.concatenate([jnp.roll(x, 1, 0), x, jnp.roll(x, -1, 0)], 1) @ kernel + bias)
            x = jnp.stack([x, (x + jnp.roll(x, -1, 0)) / 2], 1).reshape(-1, width)
        return x @ params[-1][0] + params[-1][1]

    return f, params


def _layer(key, shape):
    """A kernel of Kaiming's and a bias that bends the line at places all over the whole."""
    kernel, bias = jax.random.split(key)
    return np.sqrt(2 / shape[0]) * jax.random.normal(kernel, shape), jax.random.uniform(bias, shape[1:]) - 0.5


def _fitted(f, params, places, target, lr, *, waves, steps, every):
    """The amplitudes and losses along the way, (S, K) and (S,), and the last fit (N,)."""
    optimizer = optax.adam(lr)

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
        return carry, (2 / len(target) * jnp.abs(jnp.fft.rfft(fit))[waves], jnp.mean((fit - target) ** 2))

    (params, _), (found, losses) = lax.scan(stretch, (params, optimizer.init(params)), length=steps // every)
    return found, losses, given(params)
