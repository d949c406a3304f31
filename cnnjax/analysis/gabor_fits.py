"""Whether filters are Gabor functions, a wave under a bell: fits, how good they are, and how good they are of noise."""

import dataclasses
from typing import Any

import jax
import numpy as np

from cnnjax.annotations import AtLeastOne
from cnnjax.refusals import refuse_misfits

__all__ = ["GaborFits", "fit_gabor"]

_LEAST = 5  # pixels: a kernel of 3×3 has as many numbers as the function
_SPECTRUM = 32  # samples of the spectrum in which a first frequency is looked for
_WORDS = ("amplitude", "y", "x", "angle", "frequency", "phase", "sigma", "aspect", "offset")


@dataclasses.dataclass(frozen=True)
class GaborFits:
    """N filters as pictures (N, k, k), the Gabor functions that come closest to them, and how close that is.

    `images` are the filters; of three channels what they have most in common, the `share` (N,) of the whole. `fits`
    (N, k, k) are amplitude · e^(−(u² + aspect² v²)/2σ²) · cos(2π frequency u + phase) + offset, as `ops.gabor` has it
    about (y, x) pixels from the middle; each parameter is (N,). `quality` (N,) is R², the share of a filter's variance
    that its fit explains, and `null` (M,) that of M filters of white noise: nine parameters explain much of a small
    kernel whatever it is.
    """

    images: np.ndarray
    share: np.ndarray
    fits: np.ndarray
    quality: np.ndarray
    null: np.ndarray
    amplitude: np.ndarray
    y: np.ndarray
    x: np.ndarray
    angle: np.ndarray
    frequency: np.ndarray
    phase: np.ndarray
    sigma: np.ndarray
    aspect: np.ndarray
    offset: np.ndarray

    @property
    def cycles(self) -> np.ndarray:
        """Deviations of the bell along the wave and across it, in waves (N, 2): n_x and n_y of Ringach 2002."""
        return np.stack([self.sigma * self.frequency, self.sigma * self.frequency / self.aspect], 1)

    @property
    def alike(self) -> np.ndarray:
        """Which filters (N,) are Gabor functions: better than 99 % of noise, with half a wave to four in the bell."""
        waves = 4 * self.sigma * self.frequency
        return (self.quality > np.percentile(self.null, 99)) & (waves > 0.5) & (waves < 4)


def fit_gabor(key: jax.Array, filters: np.ndarray, *, null: AtLeastOne = 24) -> GaborFits:
    """The Gabor functions closest to filters (N, k, k) or (N, k, k, 1 or 3), and the same for `null` filters of noise.

    Least squares from four places: the two highest peaks of the spectrum, a narrow and a wide bell; amplitude, phase
    and offset are solved for at each step. The `images` of `filters` are such arrays.
    """
    refuse_misfits(fit_gabor, {"null": null})
    pictures, share = _pictures(np.asarray(filters, np.float64))
    height, width = pictures.shape[1:]
    if min(height, width) < _LEAST:
        raise ValueError(
            f"filters are {height}×{width}; they must be 5×5 or larger, for nine parameters fit nine numbers whatever "
            "they are"
        )
    found = [_fitted(picture) for picture in pictures]
    noise = np.asarray(jax.random.normal(key, (null, height, width)), np.float64)
    chance = [_fitted(picture)[2] for picture in noise]
    parameters = dict(zip(_WORDS, np.array([numbers for numbers, _, _ in found]).T, strict=True))
    fits, quality = np.stack([fit for _, fit, _ in found]), np.array([quality for _, _, quality in found])
    return GaborFits(pictures, share, fits, quality, np.array(chance), **parameters)


def _pictures(filters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Filters as pictures of one channel (N, k, k), of three the first principal component, and its share (N,)."""
    if filters.ndim == 3:
        filters = filters[..., None]
    if filters.ndim != 4 or not len(filters):
        raise ValueError(f"filters are {filters.shape}; they must be (N, k, k), or (N, k, k, channels)")
    count, height, width, channels = filters.shape
    left, values, right = np.linalg.svd(filters.reshape(count, height * width, channels), full_matrices=False)
    sign = np.where(right[:, 0].sum(1) < 0, -1.0, 1.0)
    pictures = (left[:, :, 0] * (sign * values[:, 0])[:, None]).reshape(count, height, width)
    energy = np.sum(values**2, 1)
    return pictures, np.where(energy > 0, values[:, 0] ** 2 / np.maximum(energy, 1e-300), 1.0)


def _fitted(picture: np.ndarray) -> tuple[list[float], np.ndarray, float]:
    """The parameters of the best fit, the fit, and R²."""
    from scipy.optimize import least_squares  # here: it takes a moment to load; JAX can't do without it either

    height, width = picture.shape
    side, values = max(height, width), picture.ravel()
    y, x = (axis.ravel() for axis in np.mgrid[:height, :width])
    y, x = y - (height - 1) / 2, x - (width - 1) / 2
    spread = np.sum((values - values.mean()) ** 2)
    if spread == 0:
        return [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, side / 6, 1.0, float(values.mean())], picture.copy(), 0.0
    ends = (height - 1) / 2, (width - 1) / 2
    low = [-ends[0], -ends[1], -np.inf, 0.0, np.log(0.3), np.log(0.2)]
    high = [ends[0], ends[1], np.inf, 0.5, np.log(3 * side), np.log(5.0)]
    scale = values - values.mean()
    away = lambda numbers: _solved(numbers, y, x, values)[1] - values  # noqa: E731
    best = None
    for fy, fx in _peaks(picture):
        for sigma in (side / 6, side / 3):
            weight = np.abs(scale)
            start = [y @ weight / weight.sum(), x @ weight / weight.sum(), np.arctan2(fy, fx)]
            start = [*start, np.clip(np.hypot(fy, fx), 0.01, 0.49), np.log(max(sigma, 0.31)), 0.0]
            found = least_squares(away, start, bounds=(low, high), x_scale=[1, 1, 0.5, 0.1, 0.5, 0.5], max_nfev=200)
            best = found if best is None or found.cost < best.cost else best
    (cosine, sine, offset), fit = _solved(best.x, y, x, values)
    parameters = _told(best.x, cosine, sine, offset)
    return parameters, fit.reshape(height, width), float(1 - np.sum((fit - values) ** 2) / spread)


def _solved(numbers: np.ndarray, y: np.ndarray, x: np.ndarray, values: np.ndarray) -> tuple[Any, np.ndarray]:
    """The best weights of cosine, sine and 1 under a bell, which is a linear problem, and what they give."""
    y0, x0, angle, frequency, sigma, aspect = numbers
    u = (x - x0) * np.cos(angle) + (y - y0) * np.sin(angle)
    v = (y - y0) * np.cos(angle) - (x - x0) * np.sin(angle)
    bell = np.exp(-(u**2 + (np.exp(aspect) * v) ** 2) / (2 * np.exp(2 * sigma)))
    turn = 2 * np.pi * frequency * u
    waves = np.stack([bell * np.cos(turn), bell * np.sin(turn), np.ones_like(u)], 1)
    weights = np.linalg.lstsq(waves, values, rcond=1e-6)[0]
    return weights, waves @ weights


def _told(numbers: np.ndarray, cosine: float, sine: float, offset: float) -> list[float]:
    """The parameters, with an angle from 0 to π: the wave that runs the other way has the opposite phase."""
    y0, x0, angle, frequency, sigma, aspect = numbers
    phase, turns = np.arctan2(-sine, cosine), np.floor(angle / np.pi)
    phase = phase if turns % 2 == 0 else -phase
    place = y0, x0, angle - turns * np.pi, frequency, phase
    return [float(number) for number in (np.hypot(cosine, sine), *place, np.exp(sigma), np.exp(aspect), offset)]


def _peaks(picture: np.ndarray) -> list[tuple[float, float]]:
    """The two highest local maxima of the spectrum, as frequencies along y and x in cycles in a pixel."""
    side = max(_SPECTRUM, *picture.shape)
    power = np.abs(np.fft.fft2(picture - picture.mean(), (side, side)))
    neighbours = [np.roll(power, (a, b), (0, 1)) for a in (-1, 0, 1) for b in (-1, 0, 1) if a or b]
    peaks = np.where(power >= np.max(neighbours, 0), power, 0)
    peaks[:, side // 2 + 1 :] = 0  # the other half says the same again
    peaks[side // 2 + 1 :, 0] = 0
    found = np.argsort(-peaks.ravel(), kind="stable")[:2]
    frequencies = np.fft.fftfreq(side)
    return [(frequencies[row], frequencies[column]) for row, column in (divmod(place, side) for place in found)]
