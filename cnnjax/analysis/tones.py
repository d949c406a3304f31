"""How high what is sung or played is, moment by moment, as CREPE (Kim 2018) hears it."""

from collections.abc import Mapping
from typing import NamedTuple

import flax.linen as nn
import jax
import numpy as np

from cnnjax.annotations import AtLeastOne
from cnnjax.ops import compiler_options

__all__ = ["PitchTrack", "hertz_of", "pitch_track"]

_RATE, _FRAME, _CLASSES = 16_000, 1024, 360
_LOWEST, _STEP, _BESIDE = 1997.3794084376191, 20.0, 4  # cents above 10 Hz of the first class, between two; neighbours
_AT_ONCE = 256  # frames


class PitchTrack(NamedTuple):
    """The middle of every frame in seconds (N,), its pitch in hertz (N,), and from 0 to 1 how sure that is (N,)."""

    seconds: np.ndarray
    hertz: np.ndarray
    certainty: np.ndarray


def pitch_track(
    net: nn.Module, variables: Mapping, samples: np.ndarray, *, rate: AtLeastOne = _RATE, hop: AtLeastOne = 160
) -> PitchTrack:
    """The pitch of samples (T,) every `hop` of them, by a net `crepe(outputs=360)` with published weights.

    The samples must be 16,000 a second: `recordings(["a.wav"], (steps, 1), rate=16_000)` of the data makes them so.
    Frames of 1,024 stand about every place, filled up with zeros at the ends. Of silence the certainty is near 0.
    """
    samples = np.asarray(samples, np.float32)
    if samples.ndim != 1 or not samples.size or not np.isfinite(samples).all():
        raise ValueError(f"samples have shape {samples.shape}; give one row of finite numbers")
    if rate != _RATE:
        raise ValueError(f"rate is {rate}; the net hears {_RATE:,} samples a second, bring the sound to that before")
    options = compiler_options(jax.default_backend())
    answer = jax.jit(lambda variables, x: net.apply(variables, x), compiler_options=options)
    padded = np.pad(samples, _FRAME // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, _FRAME)[: len(samples) : hop]
    found = []
    for first in range(0, len(frames), _AT_ONCE):
        some = frames[first : first + _AT_ONCE]
        whole = np.pad(some, ((0, _AT_ONCE - len(some)), (0, 0)))  # one shape, one compilation
        found.append(np.asarray(answer(variables, whole[..., None]))[: len(some)])
    outputs = np.concatenate(found)
    if outputs.shape[1:] != (_CLASSES,):
        raise ValueError(f"the net gives {outputs.shape[1:]} numbers a frame; {_CLASSES} classes of pitch are needed")
    hertz, certainty = hertz_of(outputs)
    return PitchTrack(np.arange(len(frames)) * hop / _RATE, hertz, certainty)


def hertz_of(outputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pitches (N,) in hertz of logits (N, 360), and the largest probability of each (N,).

    A pitch is the mean of the classes about the likeliest, four on either side, by their probabilities.
    """
    likely = 1 / (1 + np.exp(-np.asarray(outputs, np.float64)))
    best, place = likely.argmax(1), np.arange(_CLASSES)
    weights = likely * (np.abs(place - best[:, None]) <= _BESIDE)
    cents = _LOWEST + _STEP * (weights @ place) / weights.sum(1)
    return 10 * 2 ** (cents / 1200), likely.max(1)
