"""In which order a net learns the frequencies of what it is to fit (Rahaman 2019)."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from cnnjax.annotations import AtLeastOne, Positive
from cnnjax.refusals import refuse_misfits

__all__ = ["SpectralBias", "spectral_bias"]


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
