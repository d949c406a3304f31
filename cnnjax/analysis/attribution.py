"""What in an image an answer is made of: gradients, their variants, and what is missed when a part is covered."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.tree_util import Partial

from cnnjax import ops
from cnnjax.analysis._functions import Answers, answers, compiled, floats, targets
from cnnjax.analysis.rewriting import rewritten
from cnnjax.analysis.tapping import last_map, tapped
from cnnjax.annotations import AtLeastOne, NonNegative
from cnnjax.refusals import one_of, refuse_misfits

__all__ = [
    "attribute",
    "deconvnet",
    "grad_cam",
    "guided_backprop",
    "guided_grad_cam",
    "input_x_gradient",
    "integrated_gradients",
    "occlusion",
    "saliency",
    "smooth_grad",
    "var_grad",
]

Target = int | np.ndarray | jax.Array


def attribute(f: Answers, images: jax.Array, target: Target, method: str = "saliency") -> jax.Array:
    """What each number of images (B, *sizes, C) does to the outputs of the classes `target`, shaped like the images.

    Methods are those functions of this file that need to be told nothing more; of a `grad_cam`, which wants a net, the
    one channel is repeated.
    """
    by_name = {
        function.__name__: function
        for function in (saliency, input_x_gradient, guided_backprop, deconvnet, integrated_gradients)
        + (grad_cam, guided_grad_cam, occlusion)
    }
    found = by_name[one_of(method, by_name, path="method")](f, images, target)
    return jnp.broadcast_to(found, images.shape)


def saliency(f: Answers, images: jax.Array, target: Target) -> jax.Array:
    """∂ output / ∂ image, of images (B, *sizes, C) and shaped like them, with its sign (Simonyan 2014)."""
    return compiled(_saliency, f, images, targets(target, len(images)))


def _saliency(f, images, target):
    return jax.grad(lambda x: answers(f, x, target).sum())(images)


def input_x_gradient(f: Answers, images: jax.Array, target: Target) -> jax.Array:
    """Images (B, *sizes, C) times their saliency, shaped like them: what each pixel adds, were the function linear."""
    return images * saliency(f, images, target)


def guided_backprop(f: Answers, images: jax.Array, target: Target) -> jax.Array:
    """Saliency of images (B, *sizes, C), shaped like them, of positive gradients alone at every rectifier.

    A rectifier hands back what is positive where its own input was (Springenberg 2015). It draws edges of the image
    rather than reasons of the answer: it hardly changes when the net's last layers are drawn anew (Adebayo 2018).
    """
    return compiled(_guided, f, images, targets(target, len(images)))


def deconvnet(f: Answers, images: jax.Array, target: Target) -> jax.Array:
    """Saliency of images (B, *sizes, C), shaped like them, whose rectifiers hand back all that is positive.

    Whatever their own input was (Zeiler & Fergus 2014).
    """
    return compiled(_deconvolved, f, images, targets(target, len(images)))


def _relu(x: jax.Array) -> jax.Array:
    return jnp.maximum(x, 0)


_GUIDED = {
    "relu": lambda x, g: jnp.where(x > 0, _relu(g), 0),
    "relu6": lambda x, g: jnp.where((x > 0) & (x < 6), _relu(g), 0),
}
_DECONVOLVED = {"relu": lambda x, g: _relu(g), "relu6": lambda x, g: _relu(g)}


def _guided(f, images, target):
    return _saliency(rewritten(f, _GUIDED), images, target)


def _deconvolved(f, images, target):
    return _saliency(rewritten(f, _DECONVOLVED), images, target)


def integrated_gradients(
    f: Answers, images: jax.Array, target: Target, *, baseline: jax.Array | float = 0.0, nodes: AtLeastOne = 50
) -> jax.Array:
    """(images − baseline) · ∫ saliency from the baseline to images (B, *sizes, C), shaped like them.

    Its sum is the output's change from the baseline to the image (Sundararajan 2017); the integral is Gauss and
    Legendre's.
    """
    refuse_misfits(integrated_gradients, locals())
    places, weights = np.polynomial.legendre.leggauss(nodes)
    path = np.stack([(places + 1) / 2, weights / 2], 1)
    return compiled(_integrated, f, images, targets(target, len(images)), baseline, path)


def _integrated(f, images, target, baseline, path):
    way = images - baseline

    def step(total, node):
        return total + node[1] * _saliency(f, baseline + node[0] * way, target), None

    return way * lax.scan(step, jnp.zeros_like(images), path.astype(images.dtype))[0]


def smooth_grad(
    key: jax.Array,
    f: Answers,
    images: jax.Array,
    target: Target,
    *,
    sigma: NonNegative = 0.15,
    samples: AtLeastOne = 50,
) -> jax.Array:
    """The mean saliency of images (B, *sizes, C), shaped like them, under noise (Smilkov 2017).

    `sigma` is in the unit of the images; the paper takes 0.1 to 0.2 of the distance of the darkest from the lightest.
    """
    refuse_misfits(smooth_grad, locals())
    return compiled(_noisy, f, images, targets(target, len(images)), key, sigma, samples=samples)[0]


def var_grad(
    key: jax.Array,
    f: Answers,
    images: jax.Array,
    target: Target,
    *,
    sigma: NonNegative = 0.15,
    samples: AtLeastOne = 50,
) -> jax.Array:
    """The variance of the saliency of images (B, *sizes, C), shaped like them, under noise (Adebayo 2018)."""
    refuse_misfits(var_grad, locals())
    return compiled(_noisy, f, images, targets(target, len(images)), key, sigma, samples=samples)[1]


def _noisy(f, images, target, key, sigma, *, samples):
    """Mean and variance, by Welford's updates: a difference of sums of squares would lose it."""

    def step(carry, key):
        count, mean, spread = carry
        found = _saliency(f, images + sigma * jax.random.normal(key, images.shape, images.dtype), target)
        away = found - mean
        mean = mean + away / (count + 1)
        return (count + 1, mean, spread + away * (found - mean)), None

    nothing = jnp.zeros_like(images)
    (count, mean, spread), _ = lax.scan(step, (0, nothing, nothing), jax.random.split(key, samples))
    return mean, spread / count


Resizing = Literal["bilinear", "nearest", "none"]


def grad_cam(
    f: tuple[nn.Module, Mapping],
    images: jax.Array,
    target: Target,
    *,
    layer: str = "",
    rectified: bool = True,
    resizing: Resizing = "bilinear",
) -> jax.Array:
    """Σ over channels of a layer's map, each times its mean gradient: (B, *sizes, 1) of images (B, *sizes, C).

    `f` is a net and its variables, the layer a path of `tapped`, by default the net's last map of several places. What
    is negative is 0 where it is `rectified` (Selvaraju 2017). Resizing "none" leaves the map as large as the layer's.
    """
    refuse_misfits(grad_cam, locals())
    images = floats(images)
    layer = layer or last_map(*_net_of(f, "grad_cam"), images)
    sizes = () if resizing == "none" else images.shape[1:-1]
    looked = Partial(_Tapped(_net_of(f, "grad_cam")[0], layer), f[1])
    found = compiled(_cam, looked, images, targets(target, len(images)), rectified=rectified)
    return ops.resize(found, sizes, method=resizing, antialias=False) if sizes else found


def guided_grad_cam(
    f: tuple[nn.Module, Mapping],
    images: jax.Array,
    target: Target,
    *,
    layer: str = "",
    resizing: Literal["bilinear", "nearest"] = "bilinear",
) -> jax.Array:
    """Guided backpropagation of images (B, *sizes, C), shaped like them, times the rectified Grad-CAM of the layer."""
    where = grad_cam(f, images, target, layer=layer, resizing=resizing)
    return where * guided_backprop(f, images, target)


def _net_of(f, method):
    if not (isinstance(f, tuple) and len(f) == 2 and isinstance(f[0], nn.Module)):
        raise ValueError(f"{method} looks into a net: give (net, variables), not {type(f).__name__}")
    return f


@dataclasses.dataclass(frozen=True)
class _Tapped:
    """The map of a layer, and the output with something added to it."""

    net: nn.Module
    layer: str

    def __call__(self, variables: Mapping, images: jax.Array) -> tuple[jax.Array, Callable]:
        reads, resumes = tapped(self.net, self.layer)
        return reads(variables, images), functools.partial(resumes, variables, images)


def _cam(looked, images, target, *, rectified):
    found, resumes = looked(images)
    gradient = jax.grad(lambda delta: answers(resumes, delta, target).sum())(jnp.zeros_like(found))
    places = tuple(range(1, found.ndim - 1))
    cam = jnp.sum(found * jnp.mean(gradient, places, keepdims=True), -1, keepdims=True)
    return _relu(cam) if rectified else cam


def occlusion(
    f: Answers,
    images: jax.Array,
    target: Target,
    *,
    window: AtLeastOne = 8,
    stride: AtLeastOne = 4,
    value: jax.Array | float = 0.0,
) -> jax.Array:
    """How much less the output is when a window of images (B, *sizes, C) is covered, shaped like them.

    It is the mean over the windows on each pixel (Zeiler & Fergus 2014). An axis has ⌈(n − window)/stride⌉ + 1, of
    which the last may hang over the edge; they cover all channels with `value`, a number or what broadcasts with the
    images.
    """
    refuse_misfits(occlusion, locals())
    if stride > window or window > min(images.shape[1:-1]):
        raise ValueError(
            f"window is {window}, stride {stride}, images are {tuple(images.shape)}: "
            "a window must lie inside the image, and its stride leave no pixel out"
        )
    corners = [np.arange(-(-(n - window) // stride) + 1) * stride for n in images.shape[1:-1]]
    corners = np.stack(np.meshgrid(*corners, indexing="ij"), -1).reshape(-1, images.ndim - 2).astype(np.int32)
    return compiled(_occluded, f, images, targets(target, len(images)), value, corners, window=window)


def _occluded(f, images, target, value, corners, *, window):
    whole = answers(f, images, target)
    axes = range(images.ndim - 2)

    def step(carry, corner):
        total, count = carry
        mask = jnp.ones(images.shape[1:-1], bool)
        for axis in axes:
            place = lax.broadcasted_iota(jnp.int32, mask.shape, axis) - corner[axis]
            mask &= (place >= 0) & (place < window)
        missed = whole - answers(f, jnp.where(mask[..., None], value, images).astype(images.dtype), target)
        return (total + missed.reshape(-1, *[1] * len(axes)) * mask, count + mask), None

    start = jnp.zeros(images.shape[:-1], images.dtype), jnp.zeros(images.shape[1:-1], images.dtype)
    (total, count), _ = lax.scan(step, start, corners)
    return jnp.broadcast_to((total / count)[..., None], images.shape)
