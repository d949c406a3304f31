"""Whether an answer stays when the image moves, and how far an image can be moved until it does not."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from cnnjax.analysis import _motion
from cnnjax.analysis._functions import Answers, as_function, compiled, floats, targets
from cnnjax.analysis._motion import Border, Motion
from cnnjax.annotations import AtLeastOne
from cnnjax.refusals import one_of, refuse_misfits

__all__ = ["Invariance", "TurningPoints", "consistency", "invariances", "moved", "shift_map", "turning_points"]

_BLOCK, _PIXELS = 256, 1_000_000  # images that are asked about at once, and how many pixels they have at most


@dataclasses.dataclass(frozen=True)
class Invariance:
    """What becomes of answers by the `amounts` (A,) of a motion, as means over images.

    `agreement` is 1 − the total variation between the probabilities before and after (A,), `alike` the share of images
    of the same answer, and `accuracy` that of the right one; without labels it is NaN.
    """

    amounts: np.ndarray
    agreement: np.ndarray
    alike: np.ndarray
    accuracy: np.ndarray


@dataclasses.dataclass(frozen=True)
class TurningPoints:
    """The least amounts of a motion up to a `limit` that change the answers to N images: `amounts` (N, 2).

    Those to the negative side first and as positive numbers, infinite where none changes it; `becomes` (N, 2) is the
    answer there, −1 where it stays.
    """

    limit: float
    amounts: np.ndarray
    becomes: np.ndarray

    @property
    def least(self) -> np.ndarray:
        """The smaller of both (N,)."""
        return self.amounts.min(1)

    def still(self, amounts: np.ndarray) -> np.ndarray:
        """The share of images that were answered alike up to each of such amounts (A,), to either side."""
        return (self.least[:, None] > np.asarray(amounts)).mean(0)


def moved(images: jax.Array, motion: Motion, amount: np.ndarray | float, *, border: Border = "edge") -> jax.Array:
    """Images (B, H, W, C) in [0, 1] after a motion by an amount, a number or (B,): (B, H, W, C), in [0, 1] again.

    Motions are those of `affine`, with `brightness`, which is added, and `contrast`, in doublings of the distance from
    an image's mean. Places are read bilinearly; what shrinks is low-passed before.
    """
    refuse_misfits(moved, {"motion": motion, "border": border})
    amounts = np.broadcast_to(np.asarray(amount, np.float32), (len(images),))
    numbers = amounts[:, None] * _motion.along(motion)
    return _motion.moved(_unit(images), jnp.asarray(numbers, jnp.float32), border=border)


def invariances(
    f: Answers,
    images: jax.Array,
    amounts: Mapping[Motion, Sequence[float]],
    *,
    labels: np.ndarray | tuple = (),
    border: Border = "edge",
) -> dict[str, Invariance]:
    """What becomes of answers to images (B, H, W, C) in [0, 1] as these are moved by amounts, by motion.

    `f` gives logits (B, K), and whatever normalises images is part of it. The accuracy needs `labels` (B,).
    """
    refuse_misfits(invariances, {"border": border})
    _known(amounts)
    rows = [amount * _motion.along(motion) for motion, each in amounts.items() for amount in each]
    shares = _shares(f, images, np.array([np.zeros(len(_motion.MOTIONS)), *rows]), border)
    found, guesses, first = {}, shares.argmax(-1), 1
    right = guesses == targets(labels, len(images)) if len(labels) else np.full(guesses.shape, np.nan)
    for motion, each in amounts.items():
        after = slice(first, first + len(each))
        apart = np.abs(shares[after] - shares[0]).sum(-1) / 2
        alike = (guesses[after] == guesses[0]).mean(1)
        found[motion] = Invariance(np.array(each, float), 1 - apart.mean(1), alike, right[after].mean(1))
        first += len(each)
    return found


def consistency(
    key: jax.Array,
    f: Answers,
    images: jax.Array,
    *,
    reach: AtLeastOne,
    pairs: AtLeastOne = 10,
    border: Border = "edge",
) -> float:
    """The share of pairs of shifts by which images (B, H, W, C) in [0, 1] are answered alike (Zhang 2019).

    Every image draws its own pairs, each shift of up to ±`reach` pixels down and right. He took 8 for ImageNet, with
    what lies beyond the crop as border, and for CIFAR a "circular" one.
    """
    refuse_misfits(consistency, {"reach": reach, "pairs": pairs, "border": border})
    shifts = jax.random.randint(key, (2 * pairs, len(images), 2), -reach, reach + 1)
    rows = np.zeros((2 * pairs, len(images), len(_motion.MOTIONS)))
    rows[..., :2] = shifts
    guesses = _shares(f, images, rows, border).argmax(-1)
    return float((guesses[::2] == guesses[1::2]).mean())


def shift_map(
    f: Answers, images: jax.Array, target: np.ndarray, *, reach: AtLeastOne, border: Border = "edge"
) -> np.ndarray:
    """The probability of its class (B,) for each image (B, H, W, C) in [0, 1], by its shift down and right by whole
    pixels: (B, 2 · reach + 1, 2 · reach + 1), unmoved in the middle.
    """
    refuse_misfits(shift_map, {"reach": reach, "border": border})
    side = 2 * reach + 1
    rows = np.zeros((side, side, len(_motion.MOTIONS)))
    rows[..., 0], rows[..., 1] = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    shares = _shares(f, images, rows.reshape(side**2, -1), border)
    asked = np.take_along_axis(shares, targets(target, len(images))[None, :, None], 2)[..., 0]
    return asked.T.reshape(len(images), side, side)


def turning_points(
    f: Answers,
    images: jax.Array,
    limits: Mapping[Motion, float],
    *,
    steps: AtLeastOne = 16,
    halvings: AtLeastOne = 10,
    border: Border = "edge",
) -> dict[str, TurningPoints]:
    """How far each of images (B, H, W, C) in [0, 1] can be moved until it is answered otherwise, by motion and limit.

    Both sides are scanned in so many `steps` up to the limit; between the last amount that did not change the answer
    and the first that did it is halved, to limit / steps / 2^halvings. An answer that comes back within a step is not
    seen. One program moves in all motions, every image by an amount of its own.
    """
    refuse_misfits(turning_points, {"steps": steps, "halvings": halvings, "border": border})
    _known(limits)
    if not all(limit > 0 for limit in limits.values()):
        raise ValueError(f"limits are {dict(limits)}; they must be above 0: both sides are searched up to them")
    units = [side * limit * _motion.along(motion) for motion, limit in limits.items() for side in (-1, 1)]
    units = np.array(units, np.float32)
    static = {"steps": steps, "halvings": halvings, "border": border}
    shares, becomes = (np.asarray(each) for each in compiled(_turned, f, _unit(images), units, **static))
    return {
        motion: TurningPoints(float(limit), shares[2 * i : 2 * i + 2].T * limit, becomes[2 * i : 2 * i + 2].T)
        for i, (motion, limit) in enumerate(limits.items())
    }


def _turned(f, images, units, *, steps, halvings, border):
    """For each unit (U, 7) the share of it (U, B) by which answers change, and to what (U, B)."""
    before = jnp.argmax(f(images), -1)

    def guess(unit, shares):
        return jnp.argmax(f(_motion.moved(images, shares[:, None] * unit, border)), -1)

    def by(unit):
        scan = jnp.arange(1, steps + 1) / steps
        answered = lax.map(lambda share: guess(unit, jnp.full(len(images), share)), scan)
        changed = answered != before
        first = jnp.argmax(changed, 0)

        def halved(_, ends):
            low, high, answer = ends
            middle = (low + high) / 2
            now = guess(unit, middle)
            there = now != before
            return jnp.where(there, low, middle), jnp.where(there, middle, high), jnp.where(there, now, answer)

        ends = first / steps, (first + 1) / steps, jnp.take_along_axis(answered, first[None], 0)[0]
        _, high, answer = lax.fori_loop(0, halvings, halved, ends)
        found = changed.any(0)
        return jnp.where(found, high, jnp.inf), jnp.where(found, answer, -1)

    return lax.map(by, units)


def _shares(f, images, rows, border):
    """Probabilities (R, B, K) of images that are moved by each of some rows of seven numbers, (R, 7) or (R, B, 7).

    They are asked in blocks of one size, so that one program serves however many there are.
    """
    images = np.asarray(_unit(images))
    rows = np.broadcast_to(rows[:, None] if rows.ndim == 2 else rows, (len(rows), len(images), rows.shape[-1]))
    rows = rows.reshape(-1, rows.shape[-1]).astype(np.float32)
    block = max(1, min(_BLOCK, _PIXELS // math.prod(images.shape[1:-1])))
    f, found = as_function(f, jnp.asarray(images[np.arange(block) % len(images)])), []
    for first in range(0, len(rows), block):
        places = np.arange(first, first + block) % len(rows)  # what fills the last block is left out again
        found.append(compiled(_asked, f, images[places % len(images)], rows[places], border=border))
    shares = np.concatenate([np.asarray(each) for each in found])[: len(rows)]
    return shares.reshape(-1, len(images), shares.shape[-1])


def _asked(f, images, rows, *, border):
    outputs = f(_motion.moved(images, rows, border))
    if outputs.ndim != 2:
        raise ValueError(f"the function gives {outputs.shape} for images {images.shape}; it must give (B, K)")
    return jax.nn.softmax(outputs, -1)


def _known(motions):
    for motion in motions:
        one_of(motion, _motion.MOTIONS, path="motion")


def _unit(images):
    images = floats(images)
    low, high = float(np.min(images)), float(np.max(images))
    if images.ndim != 4 or low < 0 or high > 1:
        raise ValueError(
            f"images are {images.shape} from {low:g} to {high:g}; "
            "they must be (B, H, W, C) in [0, 1], before they are normalised, to be moved"
        )
    return images
