"""Spectra of sound: the short-time Fourier transform, the mel scales and their filters, decibels."""

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from cnnjax.annotations import AtLeastOne, NonNegative, Positive
from cnnjax.refusals import refuse_misfits

__all__ = ["MelScale", "decibels", "hertz", "mel", "mel_filters", "stft"]

MelScale = Literal["slaney", "htk"]
_STEP, _KNEE, _GROWTH = 200 / 3, 1000.0, np.log(6.4) / 27  # Slaney: hertz a mel up to the knee, then a mel's logarithm
_QUIETEST = 1e-10  # power


def stft(x: jax.Array, *, window: AtLeastOne, hop: AtLeastOne, length: AtLeastOne) -> jax.Array:
    """The short-time Fourier transform (…, 1 + T // hop, length // 2 + 1), complex, of signals x (…, T).

    Frame n is centred on sample n · hop: zeros stand before and behind. It is weighed by a Hann window (periodic) of
    `window` samples, filled up with zeros to `length`, and not scaled: a constant 1 has the window's sum at 0 hertz.
    """
    refuse_misfits(stft, {"window": window, "hop": hop, "length": length})
    if window > length:
        raise ValueError(f"window is {window}; it must be at most length, {length}")
    count, before = 1 + x.shape[-1] // hop, window // 2
    behind = max((count - 1) * hop + window - before - x.shape[-1], 0)
    padded = jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(before, behind)])
    frames = padded[..., np.arange(count)[:, None] * hop + np.arange(window)]
    weights = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    weighed = frames.astype(jnp.promote_types(x.dtype, jnp.float32)) * weights.astype(np.float32)
    return jnp.fft.rfft(weighed, length)


def mel(hertz: float | np.ndarray, *, scale: MelScale = "slaney") -> np.ndarray:
    """Frequencies (…,) in hertz as mels: Slaney's, linear up to 1,000 Hz, then logarithmic, or HTK's."""
    refuse_misfits(mel, {"scale": scale})
    hertz = np.asarray(hertz, np.float64)
    if scale == "htk":
        return 2595 * np.log10(1 + hertz / 700)
    above = np.log(np.maximum(hertz, _KNEE) / _KNEE) / _GROWTH
    return np.minimum(hertz, _KNEE) / _STEP + above


def hertz(mel: float | np.ndarray, *, scale: MelScale = "slaney") -> np.ndarray:
    """Mels (…,) as frequencies in hertz: the inverse of `mel`."""
    refuse_misfits(hertz, {"scale": scale})
    mel = np.asarray(mel, np.float64)
    if scale == "htk":
        return 700 * (10 ** (mel / 2595) - 1)
    knee = _KNEE / _STEP
    return np.minimum(mel, knee) * _STEP * np.exp(_GROWTH * np.maximum(mel - knee, 0))


def mel_filters(
    bins: AtLeastOne,
    bands: AtLeastOne,
    *,
    rate: Positive,
    low: NonNegative = 0.0,
    high: NonNegative = 0.0,
    scale: MelScale = "slaney",
    even: bool = True,
) -> np.ndarray:
    """Filters (bins, bands) that add up a power spectrum of `bins` frequencies, 0 to rate / 2, by bands of a mel scale.

    A band is a triangle, from the middle of the one below to the middle of the one above; the first begins at `low` and
    the last ends at `high` hertz (0: rate / 2). With `even` each has an area of 1 over hertz, else a height of 1.
    """
    refuse_misfits(mel_filters, locals())
    high = high or rate / 2
    if not low < high <= rate / 2:
        raise ValueError(f"low is {low:g} and high {high:g}; they must rise, to half the rate, {rate / 2:g}, at most")
    edges = hertz(np.linspace(mel(low, scale=scale), mel(high, scale=scale), bands + 2), scale=scale)
    place, width = np.linspace(0, rate / 2, bins)[:, None], np.diff(edges)
    rising, falling = (place - edges[:-2]) / width[:-1], (edges[2:] - place) / width[1:]
    filters = np.maximum(np.minimum(rising, falling), 0)
    if not filters.any(0).all():
        raise ValueError(
            f"bands is {bands}, of which number {int(np.argmin(filters.any(0))) + 1} lies between two of the {bins} "
            f"frequencies from {low:g} to {high:g} Hz; take fewer bands, or longer frames"
        )
    return filters * (2 / (edges[2:] - edges[:-2])) if even else filters


def decibels(power: jax.Array, *, reach: jax.Array | float = 80.0) -> jax.Array:
    """Power (…, T, K) as decibels (10 · log₁₀), nothing lower than `reach` below the loudest place of its (T, K)."""
    level = 10 * jnp.log10(jnp.maximum(power, _QUIETEST))
    return jnp.maximum(level, level.max((-2, -1), keepdims=True) - reach)
