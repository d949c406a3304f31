"""Whether a net's maps move with its image: by how much they don't, layer by layer."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.tree_util import Partial

from cnnjax.analysis import _motion
from cnnjax.analysis._functions import Answers, compiled, floats, main
from cnnjax.analysis._motion import Border, Motion
from cnnjax.analysis.receptive import Field, receptive_fields
from cnnjax.config import mode
from cnnjax.refusals import one_of, refuse_misfits

__all__ = ["Equivariance", "affine", "equivariance_errors", "lie_derivative", "lie_errors"]

Maps = Callable[[jax.Array], Mapping[str, jax.Array]] | tuple[nn.Module, Mapping]
"""A function from images (B, H, W, C) to maps by name, or a net and its variables: its features and its outputs."""


@dataclasses.dataclass(frozen=True)
class Equivariance:
    """How far each layer is from moving with the image: `error` (L, M) of L layers and M moves, 0 where it does.

    It is the squared difference over the squared size, each summed over images and places; NaN where no place can be
    compared. `places` (L, M) says how many of a map could be.
    """

    layers: tuple[str, ...]
    moves: tuple[str, ...]
    error: np.ndarray
    places: np.ndarray

    @property
    def decibels(self) -> np.ndarray:
        """−10 log₁₀ of the errors (L, M): the more the better, infinite where there is none."""
        with np.errstate(divide="ignore"):
            return -10 * np.log10(self.error)


def affine(motion: Motion, amount: float) -> np.ndarray:
    """The 3×3 matrix of a motion by an amount: where a place (y, x, 1) about the image's centre goes, in pixels.

    `down` and `right` are in pixels, `rotation` in degrees from right to down, `scale` in doublings, `shear` in pixels
    to the right for each downwards. Products of such matrices are moves too, and mirrors as `np.diag([1, -1, 1])`.
    """
    one_of(motion, _motion.MOTIONS[: -len(_motion.COLORS)], path="motion")
    matrix, offset = _motion.origins(amount * _motion.along(motion), np)
    back = np.eye(3)
    back[:2, :2], back[:2, 2] = matrix, offset
    return np.linalg.inv(back)


def equivariance_errors(
    f: Maps,
    images: jax.Array,
    moves: Mapping[str, np.ndarray],
    *,
    fields: Mapping[str, Field] | tuple = (),
    border: Border = "edge",
) -> Equivariance:
    """How far maps of moved images (B, H, W, C) are from moved maps of the images, by layer and move (3×3).

    Moves are as `affine` gives them. Places alone are compared whose receptive field lies in the image before and
    after the move, with all that was sampled, so that no border is in it: for a function of one's own, give the
    `fields` of its maps. With the `border` "circular" every place is compared. Images and maps are sampled by cubic
    convolution (Keys), and low-passed where they shrink; a move by whole pixels is exact. Of outputs (B, K), which have
    no places, it is how far they change.
    """
    refuse_misfits(equivariance_errors, {"border": border})
    images, maps, shapes, fields = _asked_of(f, images, fields)
    sizes, plans, there, shrinking = images.shape[1:-1], {}, [], []
    for name, move in moves.items():
        back = _inverse(name, move)
        doublings = min(-math.log2(abs(np.linalg.det(back[:, :2]))) / 2, 0.0)
        shrinking.append(doublings if doublings < -1e-9 else 0.0)
        places = _rounded(_motion.grid(sizes) @ back[:, :2].T + back[:, 2] + _centre(sizes))
        there.append(_motion.cubic_taps(places, sizes, border))
        for layer in _with_places(shapes):
            plan = _plan(fields[layer], shapes[layer], sizes, back, border, shrinking[-1])
            plans.setdefault(layer, []).append(plan)
    rows = {
        layer: [(_motion.cubic_taps(places, shapes[layer][1:-1], border), inside) for places, inside in plan]
        for layer, plan in plans.items()
    }
    arrays = _cast(
        (_stacked(there), np.array(shrinking), {layer: _stacked(row) for layer, row in rows.items()}), images.dtype
    )
    found = compiled(_differences, maps, images, *arrays, border=border, shrinks=min(shrinking, default=0.0) < 0)
    return _errors(found, shapes, tuple(moves), plans)


def _differences(f, images, there, shrinking, plans, *, border, shrinks):
    """By layer: (the squared difference of maps of moved images and moved maps, the squared size) of each move."""

    def sampled(x, taps, doublings):
        x = jax.vmap(lambda one: _motion.low_passed(one, doublings, border))(x) if shrinks else x
        return _motion.gathered(x, taps)

    before = f(images)

    def by(row):
        there, doublings, plans = row
        after, sums = f(sampled(images, there, doublings)), {}
        for layer, now in after.items():
            if layer in plans:
                taps, inside = plans[layer]
                sums[layer] = _sums(now, sampled(before[layer], taps, doublings), inside[..., None])
            else:
                sums[layer] = _sums(now, before[layer], 1)
        return sums

    return lax.map(by, (there, shrinking, plans))


def _sums(found, expected, weight):
    return jnp.sum(weight * (found - expected) ** 2), jnp.sum(weight * expected**2)


def lie_errors(
    f: Maps,
    images: jax.Array,
    motions: Sequence[Motion] = _motion.MOTIONS,
    *,
    fields: Mapping[str, Field] | tuple = (),
    border: Border = "edge",
) -> Equivariance:
    """The same for motions by next to nothing, images (B, H, W, C): ‖d/dt T₋ₜ f(Tₜ x)‖² / ‖f(x)‖² (Gruver 2022).

    It is per unit of each motion, squared: a pixel, a degree, a doubling of size or of contrast, a brightness of 1.
    Slopes of images and maps are those of cubic convolution, which has one at whole pixels.
    """
    refuse_misfits(lie_errors, {"border": border})
    for motion in motions:
        one_of(motion, _motion.MOTIONS, path="motions")
    images, maps, shapes, fields = _asked_of(f, images, fields)
    sizes, still = images.shape[1:-1], np.eye(3)[:2]
    plans = {
        layer: _plan(fields[layer], shapes[layer], sizes, still, border, 0.0, slack=1) for layer in _with_places(shapes)
    }
    rows = {
        layer: _stacked([
            _slope_taps(_velocity(fields[layer], shapes[layer], sizes, motion), border) for motion in motions
        ])
        for layer in plans
    }  # fmt: skip
    inside = {layer: inside for layer, (_, inside) in plans.items()}
    arrays = _cast((*_ways(motions, sizes, border), rows, inside), images.dtype)
    found = compiled(_derivatives, maps, images, *arrays)
    return _errors(found, shapes, tuple(motions), {layer: [plan] * len(motions) for layer, plan in plans.items()})


def _derivatives(f, images, ways, colors, rows, plans):
    """By layer: (the squared Lie derivative, the squared size) for each motion."""

    def by(row):
        way, color, rows = row
        now, moving = jax.jvp(f, (images,), (_tangent(images, way, color),))
        sums = {}
        for layer, each in now.items():
            slope, weight = moving[layer], 1
            if layer in plans:
                slope, weight = slope + _motion.gathered(each, rows[layer]), plans[layer][..., None]
            sums[layer] = jnp.sum(weight * slope**2), jnp.sum(weight * each**2)
        return sums

    return lax.map(by, (ways, colors, rows))


def lie_derivative(f: Answers, images: jax.Array, motion: Motion, *, border: Border = "edge") -> jax.Array:
    """How fast the answers to images (B, H, W, C) change as these move, per unit of a motion: shaped like the answers.

    Units are those of `lie_errors`; answers have no places that would have to move along.
    """
    refuse_misfits(lie_derivative, {"motion": motion, "border": border})
    images = _pictures(images)
    ways, (color,) = _ways((motion,), images.shape[1:-1], border)
    way = tuple(each[0] for each in ways)
    return compiled(_derivative, f, images, *_cast((way, color), images.dtype))


def _derivative(f, images, way, color):
    return jax.jvp(f, (images,), (_tangent(images, way, color),))[1]


def _tangent(images, way, color):
    """The change of images whose pixels go a way, with that of brightness and contrast."""
    apart = images - images.mean((1, 2, 3), keepdims=True)
    return _motion.gathered(images, way) + color[0] + color[1] * math.log(2) * apart


def _ways(motions, sizes, border):
    """What images change by as their pixels move, as taps (M, 4, H, W), and of brightness and contrast (M, 2)."""
    grid, found = _motion.grid(sizes), []
    for motion in motions:
        each = _motion.generator(motion)
        found.append(_slope_taps(-(grid @ each[:2, :2].T + each[:2, 2]), border))
    return _stacked(found), np.array([_motion.along(motion)[-len(_motion.COLORS) :] for motion in motions])


def _slope_taps(way, border):
    """The pixels and weights (4, h, w) that give the change of a map that is read a way (h, w, 2) further on.

    The slope of cubic convolution at a pixel is half the difference of its neighbours.
    """
    sizes = way.shape[:-1]
    places = np.stack(np.meshgrid(*map(np.arange, sizes), indexing="ij"), -1)
    steps = np.array([(1, 0), (-1, 0), (0, 1), (0, -1)])
    found = [_motion.pixels(places + step, sizes, border) for step in steps]
    index, counts = (np.stack(each) for each in zip(*found, strict=True))
    return index, counts * np.stack([way @ step / 2 for step in steps])


def _velocity(field, shape, sizes, motion):
    """How far units go (h, w, 2), in places of their map, per unit of a motion."""
    stride = np.array(field.stride)
    if not np.isfinite(stride).all():
        return np.zeros((*shape[1:-1], 2))
    each = _motion.generator(motion)
    return (_middles(field, shape, sizes) @ each[:2, :2].T + each[:2, 2]) / stride


def _plan(field, shape, sizes, back, border, doublings, slack=0):
    """Where what stands at units came from (h, w, 2), in places of the map, and where no border is in it (h, w)."""
    stride, count = np.array(field.stride, float), np.array(shape[1:-1])
    if not np.isfinite([*stride, *field.size]).all() and (border != "circular" or not np.isfinite(stride).all()):
        return np.zeros((*count, 2)), np.zeros(count, bool)
    middle = _middles(field, shape, sizes)
    came = middle @ back[:, :2].T + back[:, 2]
    places = _rounded((came - middle[0, 0]) / stride)
    if border == "circular":
        return places, np.ones(count, bool)
    slack += math.ceil(3 * float(_motion.deviation(doublings)))
    half, edge = (np.array(field.size) - 1) / 2, _centre(sizes)
    there = _motion.grid(sizes) @ back[:, :2].T + back[:, 2] + edge
    margin = slack + (np.abs(there - np.round(there)).max() > 1e-6)
    corners = [middle + half * np.array(side) for side in ((-1, -1), (-1, 1), (1, -1), (1, 1))]
    origins = [corner @ back[:, :2].T + back[:, 2] for corner in corners]
    inside = np.all([np.abs(corner) <= edge + 1e-6 for corner in corners], (0, -1))
    inside &= np.all([np.abs(origin) <= edge - margin + 1e-6 for origin in origins], (0, -1))
    fits = (np.abs(middle - half) <= edge + 1e-6) & (np.abs(middle + half) <= edge + 1e-6)
    for axis, n in enumerate(count):
        seen = np.flatnonzero(fits.take(0, 1 - axis)[:, axis])
        if not len(seen):
            return places, np.zeros(count, bool)
        low = np.floor(places[..., axis])
        apart = places[..., axis] > low
        inside &= (low - apart - slack >= seen[0]) & (low + 2 * apart + slack <= min(seen[-1], n - 1))
    return places, inside


def _middles(field, shape, sizes):
    """The middles (h, w, 2) of what units see, about the image's centre."""
    sides = np.where(np.isfinite(field.size), field.size, sizes)
    first = np.array(field.start) + (sides - 1) / 2 - _centre(sizes)
    return first + np.array(field.stride) * np.stack(np.meshgrid(*map(np.arange, shape[1:-1]), indexing="ij"), -1)


def _centre(sizes):
    return (np.array(sizes) - 1) / 2


def _rounded(places):
    """Places, of which those next to whole ones are whole: there cubic sampling is exact."""
    whole = np.round(places)
    return np.where(np.abs(places - whole) < 1e-6, whole, places)


def _inverse(name, move):
    """Where each place came from, (2, 3), or an error."""
    move = np.asarray(move, float)
    if move.shape != (3, 3) or abs(np.linalg.det(move)) < 1e-9 or np.abs(move[2] - [0, 0, 1]).max() > 1e-9:
        raise ValueError(f"moves[{name!r}] is {move.tolist()}; it must be a matrix as `affine` gives")
    return np.linalg.inv(move)[:2]


def _with_places(shapes):
    return [layer for layer, shape in shapes.items() if len(shape) == 4]


def _stacked(rows):
    """A list of nested tuples of arrays as one, with an axis more."""
    return jax.tree.map(lambda *each: np.stack(each), *rows)


def _cast(arrays, dtype):
    """Numbers of the images' kind; indices and truth values as they are."""
    return jax.tree.map(lambda each: each.astype(dtype) if each.dtype.kind == "f" else each, arrays)


def _pictures(images):
    images = floats(images)
    if images.ndim != 4:
        raise ValueError(f"images are {images.shape}; they must be (B, H, W, C) to be moved")
    return images


@dataclasses.dataclass(frozen=True)
class _Layers:
    """The features of a net and its main outputs, by name."""

    net: nn.Module

    def __call__(self, variables: Mapping, images: jax.Array) -> dict[str, jax.Array]:
        maps = {}
        if hasattr(self.net, "features"):
            maps = dict(self.net.apply(variables, images, method="features", **mode(self.net, False, "features")))
        return {**maps, "output": main(self.net.apply(variables, images, **mode(self.net, False)))}


def _asked_of(f: Maps, images: Any, fields: Any) -> tuple:
    """Images, the function that is asked of them, the shapes of its maps in their order, and their fields."""
    images, shapes = _pictures(images), {}
    if isinstance(f, tuple):
        net, variables = f
        f = Partial(_Layers(net), variables)
        fields = fields or (receptive_fields(net, images.shape) if hasattr(net, "features") else {})
    f = f if isinstance(f, Partial) else Partial(f)

    def noted(f, images):  # JAX sorts the names of what a traced function gives
        shapes.update({name: out.shape for name, out in f(images).items()})

    jax.eval_shape(noted, f, images)
    fields = dict(fields)
    missing = [name for name, shape in shapes.items() if len(shape) == 4 and name not in fields]
    if missing:
        raise ValueError(f"fields lacks {missing[0]!r}; give the receptive field of every map (B, h, w, C), a `Field`")
    return images, f, shapes, fields


def _errors(found, shapes, moves, plans):
    """The sums over images and places as errors of layers, in their order."""
    error, places = [], []
    for layer in shapes:
        wrong, size = (np.asarray(value, np.float64) for value in found[layer])
        inside = [int(inside.sum()) for _, inside in plans[layer]] if layer in plans else [1] * len(moves)
        known = (np.array(inside) > 0) & (size > 0)
        error.append(np.where(known, wrong / np.where(known, size, 1), np.nan))
        places.append(inside)
    return Equivariance(tuple(shapes), moves, np.array(error), np.array(places))
