"""What a net's filters look like, and what its units answer to."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Literal

import flax.linen as nn
import jax
import numpy as np
from flax import traverse_util

from cnnjax.analysis._functions import compiled
from cnnjax.analysis.receptive import Field
from cnnjax.analysis.tapping import module_maps
from cnnjax.annotations import AtLeastOne
from cnnjax.config import mode
from cnnjax.refusals import one_of, refuse_misfits

__all__ = ["Filters", "Units", "activations", "filters", "unit_patches", "unit_statistics"]


@dataclasses.dataclass(frozen=True)
class Filters:
    """A layer's filters as pictures (N, h, w, 1 or 3), and the share (N,) of each that its picture shows."""

    images: np.ndarray
    share: np.ndarray


def filters(variables: Mapping, path: str) -> Filters:
    """The filters of the convolution at a path: `images` (N, h, w, 1 or 3), in the unit of the weights.

    Those of one or three input channels are shown as they are. Of more it is the first principal component over the
    input channels, with the sign that most of these have: a filter is the product of this picture and a weight for each
    channel, but for what the share leaves out. A 1×1 kernel has one pixel, which shows nothing.
    """
    named = {"/".join(names[1:-1]): leaf for names, leaf in _kernels(variables).items()}
    one_of(path, named, path="path")
    kernel = np.asarray(named[path], np.float64)
    if kernel.ndim == 3:
        kernel = kernel[None]
    height, width, inputs, count = kernel.shape
    if inputs in (1, 3):
        return Filters(kernel.transpose(3, 0, 1, 2), np.ones(count))
    matrices = kernel.transpose(3, 0, 1, 2).reshape(count, height * width, inputs)
    left, values, right = np.linalg.svd(matrices, full_matrices=False)
    sign = np.where(right[:, 0].sum(1) < 0, -1.0, 1.0)
    images = (left[:, :, 0] * (sign * values[:, 0])[:, None]).reshape(count, height, width, 1)
    energy = np.sum(values**2, 1)
    return Filters(images, np.where(energy > 0, values[:, 0] ** 2 / np.maximum(energy, 1e-300), 1.0))


def _kernels(variables):
    """The kernels of convolutions along one or two axes."""
    leaves = traverse_util.flatten_dict(variables["params"])
    return {
        ("params", *names): leaf for names, leaf in leaves.items() if names[-1] == "kernel" and np.ndim(leaf) in (3, 4)
    }


def activations(
    net: nn.Module, variables: Mapping, images: jax.Array, *, of: Literal["features", "modules"] = "features"
) -> dict[str, jax.Array]:
    """The maps (B, *sizes, C) of a net in evaluation for images (B, *sizes, C), by name.

    Those of "features" are the net's own, behind their nonlinearity, finest to coarsest. Those of "modules" are all
    that its modules give, by path: a convolution's before normalisation and nonlinearity, whatever follows it.
    """
    refuse_misfits(activations, {"of": of})
    if of == "features" and not hasattr(net, "features"):
        raise ValueError(f"{type(net).__name__} has no features(x, train); of='modules' gives what each module gives")
    maps, names = _Maps(net, of), []
    jax.eval_shape(lambda variables, images: names.extend(maps(variables, images)), variables, images)
    found = compiled(_asked, jax.tree_util.Partial(maps, variables), images)
    return {name: found[name] for name in names}  # in the order of the net: JAX sorts the names of what it compiles


def _asked(f, images):
    return f(images)


@dataclasses.dataclass(frozen=True)
class _Maps:
    """The maps of a net by name."""

    net: nn.Module
    of: str

    def __call__(self, variables: Mapping, images: jax.Array) -> dict[str, jax.Array]:
        if self.of == "modules":
            return module_maps(self.net, variables, images)
        return dict(self.net.apply(variables, images, method="features", **mode(self.net, False, "features")))


@dataclasses.dataclass(frozen=True)
class Units:
    """What the C units of a map answer to N images.

    `mean`, `deviation` and the share of `zeros` (C,) are over images and places, `dead` is never above 0. Of responses,
    the mean of what is positive over an image's places: lifetime `sparseness` (Treves & Rolls 1991), 0 where all images
    count alike and 1 where one alone does; `selectivity` for a class (Morcos 2018), 0 to 1, of which `preferred` (C,)
    is the class. The k images of the highest values are `top` (C, k), with their `places` (C, k, n) and `peaks` (C, k).
    """

    mean: np.ndarray
    deviation: np.ndarray
    zeros: np.ndarray
    dead: np.ndarray
    sparseness: np.ndarray
    selectivity: np.ndarray
    preferred: np.ndarray
    top: np.ndarray
    places: np.ndarray
    peaks: np.ndarray


def unit_statistics(maps: np.ndarray, *, labels: np.ndarray | tuple = (), top: AtLeastOne = 9) -> Units:
    """Statistics of the C units of maps (N, *sizes, C), or (N, C); selectivity needs `labels` (N,), else it is NaN.

    Dead units have no sparseness and no selectivity: NaN.
    """
    refuse_misfits(unit_statistics, {"top": top})
    maps = np.asarray(maps, np.float64)
    count, units = len(maps), maps.shape[-1]
    if maps.ndim < 2 or not count:
        raise ValueError(f"maps are {maps.shape}; they must be (N, *sizes, C), of one image or more")
    flat = maps.reshape(count, -1, units)
    response = np.maximum(flat, 0).mean(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        alike = response.mean(0) ** 2 / np.mean(response**2, 0)
        sparseness = (1 - alike) / (1 - 1 / count)
    selectivity, preferred = _selectivity(response, np.asarray(labels))
    peaks = flat.max(1)
    order = np.argsort(-peaks, 0, kind="stable")[:top].T
    places = np.take_along_axis(flat.argmax(1), order.T, 0).T
    return Units(
        mean=flat.mean((0, 1)),
        deviation=flat.std((0, 1)),
        zeros=(flat == 0).mean((0, 1)),
        dead=~(flat > 0).any((0, 1)),
        sparseness=sparseness,
        selectivity=selectivity,
        preferred=preferred,
        top=order,
        places=np.stack(np.unravel_index(places, maps.shape[1:-1] or (1,)), -1),
        peaks=np.take_along_axis(peaks, order.T, 0).T,
    )


def _selectivity(response, labels):
    """(μ of the class of the largest mean − μ of the means of the others) / (their sum), and that class."""
    units = response.shape[1]
    if not labels.size:
        return np.full(units, np.nan), np.full(units, -1)
    if labels.shape != (len(response),):
        raise ValueError(f"labels are {labels.shape}; they must be ({len(response)},), one for each image")
    classes = np.unique(labels)
    means = np.stack([response[labels == k].mean(0) for k in classes])
    best = means.max(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        others = (means.sum(0) - best) / max(len(classes) - 1, 1)
        return (best - others) / (best + others), classes[means.argmax(0)]


def unit_patches(images: np.ndarray, units: Units, field: Field) -> np.ndarray:
    """What each unit saw where it answered most: (C, k, *sides, channels), of the images (N, *sizes, channels).

    `field` is that of the map in `receptive_fields`: its box around each place, or the whole image where that is
    smaller. What lies outside of the image, where the field reaches into the padding, is NaN.
    """
    images = np.asarray(images, np.float32)
    sizes = images.shape[1:-1]
    sides = [size if math.isinf(side) else min(int(side), size) for side, size in zip(field.size, sizes, strict=True)]
    strides = np.array([0 if math.isinf(stride) else stride for stride in field.stride])
    whole = np.array([side == size for side, size in zip(sides, sizes, strict=True)])
    found = np.full((*units.top.shape, *sides, images.shape[-1]), np.nan, np.float32)
    for unit, rank in np.ndindex(units.top.shape):
        corner = np.where(whole, 0, np.array(field.start) + strides * units.places[unit, rank]).astype(int)
        boxes = [_overlap(*axis) for axis in zip(corner, sides, sizes, strict=True)]
        there, here = (tuple(slices) for slices in zip(*boxes, strict=True))
        found[(unit, rank, *here)] = images[(units.top[unit, rank], *there)]
    return found


def _overlap(corner, side, size):
    """Where a box lies in an image along one axis, and where that is in the box."""
    low, high = max(corner, 0), max(min(corner + side, size), 0)
    return slice(low, max(high, low)), slice(low - corner, max(high, low) - corner)
