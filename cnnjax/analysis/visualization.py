"""Images that excite a unit, climbed to from noise (Olah 2017)."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from cnnjax import ops
from cnnjax.analysis._functions import compiled
from cnnjax.analysis.rewriting import named, rewritten
from cnnjax.annotations import AtLeastOne, Positive
from cnnjax.refusals import refuse_misfits

__all__ = ["Visualization", "fourier_image", "visualize"]

# how red, green and blue of photographs go together: the root of their covariance (Olah 2017), its largest column 1
_TOGETHER = np.array([[0.26, 0.09, 0.02], [0.27, 0.0, -0.05], [0.27, -0.09, 0.03]])
_TOGETHER = _TOGETHER / np.linalg.norm(_TOGETHER, axis=0).max()
_DEVIATION = 0.01  # of the numbers that an image begins as
_SCALES = 1 + (np.arange(11) - 5) / 50
_ANGLES = np.radians([*range(-10, 11), *[0] * 5])


@dataclasses.dataclass(frozen=True)
class Visualization:
    """N images (N, H, W, C) in [0, 1], what each now scores (N,), and what it scored on the way (steps, N)."""

    images: np.ndarray
    scores: np.ndarray
    history: np.ndarray


def visualize(
    key: jax.Array,
    objective: Callable[[jax.Array], jax.Array],
    size: int | Sequence[int],
    *,
    count: AtLeastOne = 1,
    channels: AtLeastOne = 3,
    steps: AtLeastOne = 512,
    lr: Positive = 0.05,
    basis: Literal["fourier", "pixel"] = "fourier",
    color: Literal["decorrelated", "rgb"] = "decorrelated",
    robust: bool = True,
) -> Visualization:
    """`count` images (N, H, W, C) in [0, 1] that score high, by so many steps of Adam from noise.

    `objective` is a function of such images to their scores (N,): one of `channel_objective`, `unit_objective` and
    their like, or one's own; whatever normalises images is part of it. A `fourier` basis climbs by frequencies of equal
    energy, `decorrelated` by colours that photographs have; of other than three channels each is on its own. `robust`
    images score high however they are shifted, turned and scaled a little. Where a rectifier lets nothing of an image's
    gradient through, it lets through what would open it: units that noise does not excite have a beginning, and those
    whose ReLU6 is full go on.
    """
    options = {"count": count, "channels": channels, "steps": steps, "lr": lr, "basis": basis, "color": color}
    refuse_misfits(visualize, options)
    sizes = (size, size) if isinstance(size, int) else tuple(size)
    blank = jnp.full((count, *sizes, channels), 0.5, jnp.float32)
    static = {"steps": steps, "basis": basis, "together": color == "decorrelated" and channels == 3, "robust": robust}
    images, scores, history = compiled(_climbed, objective, blank, key, jnp.float32(lr), **static)
    return Visualization(*(np.asarray(found) for found in (images, scores, history)))


def _climbed(objective, blank, key, lr, *, steps, basis, together, robust):
    start, way = jax.random.split(key)
    _, height, width, channels = blank.shape
    frequencies = (len(blank), height, width // 2 + 1, channels, 2)
    numbers = _DEVIATION * jax.random.normal(start, frequencies if basis == "fourier" else blank.shape)
    optimizer = optax.adam(lr)
    begun = _redirected(objective, blank)

    def painted(numbers):
        image = fourier_image(lax.complex(numbers[..., 0], numbers[..., 1]), width) if basis == "fourier" else numbers
        return jax.nn.sigmoid(image @ _TOGETHER.T.astype(np.float32) if together else image)

    def score(numbers, key):
        images = painted(numbers)
        scores = begun(_moved(key, images) if robust else images)
        if scores.shape != blank.shape[:1]:
            raise ValueError(f"the objective gives {scores.shape} for images {blank.shape}; it must give a score each")
        return jnp.sum(scores), scores

    def step(carry, key):
        numbers, state = carry
        up, scores = jax.grad(score, has_aux=True)(numbers, key)  # rectifiers lead up, as `_passed` has it
        change, state = optimizer.update(-up, state)
        return (optax.apply_updates(numbers, change), state), scores

    carry = numbers, optimizer.init(numbers)
    (numbers, _), history = lax.scan(step, carry, jax.random.split(way, steps))
    images = painted(numbers)
    return images, objective(images), history


def fourier_image(coefficients: jax.Array, width: int) -> jax.Array:
    """Images (N, H, W, C) of complex coefficients (N, H, W // 2 + 1, C), each divided by its frequency.

    With coefficients of equal size an image has as much of every frequency as photographs have; the mean is divided by
    the lowest frequency that there is.
    """
    height = coefficients.shape[1]
    y, x = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)
    scale = 1 / np.maximum(np.hypot(y, x), 1 / max(height, width))
    scaled = coefficients * scale[None, :, :, None].astype(np.float32)
    return jnp.fft.irfftn(scaled, s=(height, width), axes=(1, 2), norm="ortho") / 4


def _moved(key: jax.Array, images: jax.Array) -> jax.Array:
    """Images (N, H, W, C), all shifted, scaled, turned and shifted again, sampled once; what comes in is grey."""
    sizes = images.shape[1:-1]
    far, near = (max(1, min(most, min(sizes) // share)) for most, share in ((8, 16), (4, 32)))
    keys = jax.random.split(key, 4)
    first = jax.random.randint(keys[0], (2,), 0, far) - far // 2
    second = jax.random.randint(keys[1], (2,), 0, near) - near // 2
    scale, angle = jax.random.choice(keys[2], _SCALES), jax.random.choice(keys[3], _ANGLES)
    return _sampled(images, first, scale.astype(images.dtype), angle.astype(images.dtype), second)


def _sampled(images, first, scale, angle, second):
    """Images moved by `first` pixels, made `scale` times as large, turned by `angle` and moved by `second` pixels."""
    center = (np.array(images.shape[1:-1], np.float32) - 1) / 2
    grid = np.stack(np.meshgrid(*(np.arange(size) for size in images.shape[1:-1]), indexing="ij"), -1)
    turned = jnp.array([[jnp.cos(angle), jnp.sin(angle)], [-jnp.sin(angle), jnp.cos(angle)]]) / scale
    places = (grid - center - second) @ turned + center - first
    return jax.vmap(lambda image: ops.warp(image, places, fill=0.5))(images)


def _redirected(f: Callable, images: jax.Array) -> Callable:
    """The function, whose rectifiers lead an image on of which they would pass on nothing."""
    rules = {"relu": lambda x, g: _passed(x, np.inf, g), "relu6": lambda x, g: _passed(x, 6, g)}
    found = any(named(jax.make_jaxpr(f)(images).jaxpr, rules))
    return rewritten(f, rules) if found else f


def _passed(x: jax.Array, high: float, gradient: jax.Array) -> jax.Array:
    """The gradient where the rectifier is open, between 0 and `high`; of an image where that is none, what opens it.

    Beyond `high` it is what there would be without an end: a map that is full says no more, what it reads still does.
    """
    plain = jnp.where((x > 0) & (x < high), gradient, 0)
    none = ~jnp.any(plain != 0, tuple(range(1, x.ndim)), keepdims=True)
    back = (x >= high) | ((x <= 0) & (gradient > 0))
    return jnp.where(none & back, gradient, plain)
