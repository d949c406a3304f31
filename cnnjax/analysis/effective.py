"""How much of its receptive field a unit uses: where its gradient is, and how wide that is."""

import dataclasses
import itertools
import math
from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.tree_util import Partial

from cnnjax.analysis._functions import compiled, floats
from cnnjax.analysis.receptive import receptive_fields
from cnnjax.analysis.tapping import MapOf
from cnnjax.annotations import AtLeastOne, Count
from cnnjax.refusals import one_of, refuse_misfits

__all__ = ["Effective", "effective_field", "effective_fields"]

_VISIBLE = 0.0455  # of the peak: what is two deviations from the middle of a Gaussian (Luo 2016)
_SHARES = (20, 30, 50, 99)


@dataclasses.dataclass(frozen=True)
class Effective:
    """The effective receptive field of a map's middle unit: `map` (*sizes), of peak 1.

    `sigma` is its deviation along each axis in pixels, `area` the pixels that are at least 0.0455 of the peak, `side`
    that of a square (cube, …) of this area, `share` the area over that of the theoretical field, which begins at
    `corner` and is `theory` long. `radii[t]` is the side of the smallest square about the field's middle that holds t %
    of all (RepLKNet's measure). `dead` of `asked` gradients were zero everywhere, and are left out.
    """

    map: np.ndarray
    sigma: tuple[float, ...]
    area: int
    side: float
    share: float
    radii: dict[int, int]
    corner: tuple[int, ...]
    theory: tuple[float, ...]
    dead: int
    asked: int

    @property
    def inside(self) -> bool:
        """Whether the theoretical field lies in the image: where it does not, padding is in what the unit says."""
        ends = zip(self.corner, self.theory, self.map.shape, strict=True)
        return all(low >= 0 and low + side <= size for low, side, size in ends)


def effective_field(
    net: nn.Module,
    variables: Mapping,
    images: jax.Array,
    name: str = "output",
    *,
    unit: tuple[int, ...] = (),
    around: AtLeastOne = 1,
) -> Effective:
    """The effective field of a map's middle unit, or of another, for images (B, *sizes, C), in evaluation.

    It is the gradient of the sum of the unit's channels, in absolute numbers, mean over images and colours (Luo 2016).
    With `around` it is the mean over a square of so many units, each laid over the middle one: of a decoder's units,
    whose fields depend on their phase, and where many are dead.
    """
    refuse_misfits(effective_field, {"around": around})
    fields = receptive_fields(net, np.shape(images))
    one_of(name, fields, path="name")
    return _effective(MapOf(net, name), variables, floats(images), fields[name], unit, around)


def effective_fields(
    net: nn.Module,
    variables: Mapping,
    images: jax.Array,
    *,
    around: AtLeastOne = 1,
    most: Count = 0,
) -> dict[str, Effective]:
    """`effective_field` of every map (B, *sizes, C) of a net for such images, finest to coarsest.

    The maps are its `features`, or of a net that has none those that its modules give, by path. With `most` it is so
    many of them, from the first to the last.
    """
    refuse_misfits(effective_fields, {"around": around, "most": most})
    fields = receptive_fields(net, np.shape(images))
    images, maps = floats(images), [MapOf(net, name) for name in fields if name != "output"]
    maps = [each for each in maps if jax.eval_shape(each, variables, images).ndim == images.ndim]
    if 0 < most < len(maps):
        maps = [maps[round(place)] for place in np.linspace(0, len(maps) - 1, most)]
    return {each.name: _effective(each, variables, images, fields[each.name], (), around) for each in maps}


def _effective(map_of, variables, images, field, unit, around):
    f = Partial(map_of, variables)
    count = jax.eval_shape(f, images).shape[1:-1]
    middle = np.array(unit or tuple(size // 2 for size in count))
    if len(middle) != len(count) or not all(0 <= place < size for place, size in zip(middle, count, strict=True)):
        raise ValueError(f"unit is {tuple(middle.tolist())}; {map_of.name} has places {count}")
    low = middle - around // 2
    square = (range(max(0, start), min(start + around, size)) for start, size in zip(low, count, strict=True))
    places = np.array(list(itertools.product(*square)))
    gradients = np.asarray(compiled(_gradients, f, images, places))
    live = gradients.any(tuple(range(2, gradients.ndim)))
    stride = [0 if math.isinf(step) else step for step in field.stride]
    total = np.zeros(images.shape[1:-1])
    for each, place in zip(gradients, places, strict=True):
        total += _shifted(each.sum(0, dtype=np.float64), np.round((middle - place) * stride).astype(int))
    return _measured(total, field, middle, stride, int((~live).sum()), live.size)


def _gradients(f, images, places):
    """|∂ unit / ∂ image| of each of some places (U, n), mean over colours: (U, B, *sizes)."""

    def by(place):
        def response(x):
            maps = f(x)
            start = (0, *place, 0)
            return lax.dynamic_slice(maps, start, (len(x), *(1 for _ in place), maps.shape[-1])).sum()

        return jnp.abs(jax.grad(response)(images)).mean(-1)

    return lax.map(by, places)


def _shifted(array, steps):
    """An array with everything so many places further on, and nothing where nothing came."""
    for axis, step in enumerate(steps):
        size = array.shape[axis]
        width = [(max(step, 0), max(-step, 0)) if i == axis else (0, 0) for i in range(array.ndim)]
        array = np.pad(array, width).take(np.arange(size) + max(-step, 0), axis)
    return array


def _measured(total, field, middle, stride, dead, asked):
    """The numbers of a field that is the sum of gradients (*sizes)."""
    peak, whole = total.max(), total.sum()
    sides = zip(field.size, total.shape, strict=True)
    theory = tuple(float(size if math.isinf(side) else side) for side, size in sides)
    corner = tuple(
        int(start + round(step * place)) if math.isfinite(side) else 0
        for start, step, place, side in zip(field.start, stride, middle, field.size, strict=True)
    )
    shown = total / peak if peak else total
    area = int((shown >= _VISIBLE).sum()) if peak else 0
    centre = [low + (side - 1) / 2 for low, side in zip(corner, theory, strict=True)]
    return Effective(
        map=shown,
        sigma=_deviations(total),
        area=area,
        side=area ** (1 / total.ndim),
        share=area / math.prod(theory),
        radii={t: _radius(total, centre, t / 100 * whole) for t in _SHARES} if peak else dict.fromkeys(_SHARES, 0),
        corner=corner,
        theory=theory,
        dead=dead,
        asked=asked,
    )


def _deviations(total):
    """How far a field reaches from its own middle along each axis, NaN where it is nothing."""
    found = []
    for axis, size in enumerate(total.shape):
        line = total.sum(tuple(i for i in range(total.ndim) if i != axis))
        if not line.any():
            found.append(math.nan)
            continue
        share, place = line / line.sum(), np.arange(size)
        found.append(float(np.sqrt(share @ (place - share @ place) ** 2)))
    return tuple(found)


def _radius(total, centre, most):
    """The side of the smallest square about a place that holds so much."""
    lines = [np.abs(np.arange(size) - middle) for size, middle in zip(total.shape, centre, strict=True)]
    sides = 1 + 2 * np.max(np.stack(np.meshgrid(*lines, indexing="ij")), 0)
    order = np.argsort(sides, axis=None)
    held = np.cumsum(total.ravel()[order])
    place = min(int(np.searchsorted(held, most * (1 - 1e-9))), total.size - 1)
    return round(float(sides.ravel()[order[place]]))
