"""What part of the image a unit sees: by arithmetic, and as its gradient shows."""

import dataclasses
import math
from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from cnnjax.analysis import _intervals, _jaxprs
from cnnjax.analysis._functions import main
from cnnjax.analysis.tapping import MapOf, net_maps
from cnnjax.config import mode

__all__ = ["Field", "jacobian_field", "receptive_fields"]

_LARGEST = 4096
_WHOLE = 1024  # a unit at the edge of an image this large that sees all of it is taken to see all of any image


@dataclasses.dataclass(frozen=True)
class Field:
    """The receptive field of a map's units: side, total stride and first pixel per axis, in pixels of the image.

    That of the unit at i is `size` long from `start` + i · `stride` on; at the border it reaches into the padding.

    Where it depends on the unit's phase (after an upsampling), `size` is the largest side and `least` the smallest. The
    size is infinite where every unit sees the whole image.
    """

    size: tuple[float, ...]
    least: tuple[float, ...]
    stride: tuple[float, ...]
    start: tuple[int, ...]


def receptive_fields(net: nn.Module, shape: tuple[int, ...]) -> dict[str, Field]:
    """The field of every map of `net.features`, and of "output" where the net gives a map, for inputs of this shape.

    Of a net that has no features it is those of the maps that its modules give, by path.

    It follows the first and last pixel through every operation of the traced net, on an image enlarged until the fields
    fit into it. What multiplies by zero weights or loses to a larger neighbour still counts.
    """
    net = _jaxprs.unrolled(net)
    sizes = tuple(max(size, 256) for size in shape[1:-1])
    fields = _fields(net, shape, sizes)
    if fields is None:
        sizes = shape[1:-1]
        fields = _fields(net, shape, sizes)
    while max(sizes) < _LARGEST and any(_clipped(field, sizes) for field in fields.values()):
        sizes = tuple(2 * size for size in sizes)
        larger = _fields(net, shape, sizes)
        if larger is None:
            break
        fields = larger
    return fields


def _clipped(field, sizes):
    """Whether an axis of the image is too short to measure the field along it, though it may not be the whole axis."""
    axes = zip(field.size, field.stride, sizes, strict=True)
    return any(2 * side > size and not (math.isinf(stride) and size >= _WHOLE) for side, stride, size in axes)


def _fields(net, shape, sizes):
    """The fields measured on an image of these sizes."""
    image, names = jax.ShapeDtypeStruct((1, *sizes, shape[-1]), jnp.float32), []

    def output(variables, x):
        return main(net.apply(variables, x, **mode(net, False)))

    def run(variables, x):
        maps = net_maps(net, variables, x)
        if len(jax.eval_shape(output, variables, x).shape) == len(shape):
            maps["output"] = output(variables, x)
        names[:] = maps
        return list(maps.values())

    key = jax.eval_shape(lambda: jax.random.key(0))
    try:
        variables = jax.eval_shape(lambda key, x: net.init(key, x, **mode(net, False)), key, image)
        closed, outs = jax.make_jaxpr(run, return_shape=True)(variables, image)
    except ValueError:
        if sizes == shape[1:-1]:
            raise
        return None  # the net takes images of its own size alone
    count = len(jax.tree.leaves(variables))
    arguments = [*map(np.asarray, closed.consts), *[_intervals.FREE] * count, _intervals.image(sizes)]
    spans = _intervals.follow(closed.jaxpr, arguments)
    return {name: _field(span, out.shape, sizes) for name, out, span in zip(names, outs, spans, strict=True)}


def _field(span, shape, sizes):
    largest, least, stride, start = [], [], [], []
    for axis in range(len(sizes)):
        low, high = np.broadcast_arrays(span.low[axis], span.high[axis])
        if low.ndim == len(shape):
            others = tuple(i for i in range(low.ndim) if i != axis + 1)
            low, high = low.min(others), high.max(others)
        low, high = low.reshape(-1), high.reshape(-1)
        first, last = low.min(), high.max()  # not always the image's: a valid convolution may leave pixels over
        inside = np.flatnonzero((low > first) & (high < last))
        sides = (high - low + 1)[inside]
        largest.append(int(sides.max()) if len(inside) else math.inf)
        least.append(int(sides.min()) if len(inside) else math.inf)
        whole = ((low == first) & (high == last)).all()
        at = inside if len(inside) > 1 else np.array([0, len(low) - 1])
        step = (low + high)[at[-1]] / 2 - (low + high)[at[0]] / 2
        stride.append(math.inf if whole or len(low) < 2 else round(step / (at[-1] - at[0])))
        start.append(int(first if whole or not len(inside) else low[inside[0]] - stride[-1] * inside[0]))
    return Field(tuple(largest), tuple(least), tuple(stride), tuple(start))


def jacobian_field(
    net: nn.Module, variables: Mapping, images: jax.Array, name: str = "output", *, unit: tuple[int, ...] = ()
) -> jax.Array:
    """How much one unit of a map moves with each pixel: |∂ unit / ∂ image|, mean over images and channels: (*sizes).

    The unit is the middle one unless given; maps have the names of `receptive_fields`. Where this is not zero lies
    inside the receptive field; how it falls off towards the edge is the effective one (Luo 2016).
    """

    map_of = MapOf(_jaxprs.unrolled(net), name)

    def response(x):
        out = map_of(variables, x)
        place = unit or tuple(size // 2 for size in out.shape[1:-1])
        return jnp.sum(out[(slice(None), *place)])

    gradient = jax.grad(response)(images)
    return jnp.mean(jnp.abs(gradient), (0, -1))
