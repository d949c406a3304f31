"""Which lowering a convolution gets on a CPU, by its shape; README.md has the measurements behind each line."""

import dataclasses
import math

import jax
import jax.numpy as jnp

from cnnjax.ops import _canonical, _dots, _winograd
from cnnjax.ops._trilinear import Geometry
from cnnjax.ops.compilation import has_onednn
from cnnjax.ops.shapes import divisor

_NARROW = 8  # channels up to which bands beat blocked convolution
_WIDE, _MANY = 64, 32  # channels from which Winograd's products are large enough; half of them in batches from `_MANY`
_RUN = {1: 96, 2: 96, 3: 64}  # outputs of a band, its block times its channels, by dimensions
_MEMBERS = 16  # members of a vmap that are written out one after the other, more are a loop
_GROUPS = 32  # likewise groups
_CACHE = 3 << 20  # bytes of lines at a time in three dimensions
_ROOM = 2 << 20  # bytes of examples at a time where each place of the window has a product
_PLACES = 500  # outputs of an example from which a kernel's gradient as a convolution has too wide a window
_PRODUCTS = 27  # places of a window up to which a product for each is worth its compilation
_SMALL, _LARGE = 2_000_000, 100_000_000  # multiplies from which bands and Winograd are worth their compilation


def output_of(x: jax.Array, kernel: jax.Array, *, geometry: Geometry) -> jax.Array:
    return _split(_output, x, kernel, geometry)


def input_of(kernel: jax.Array, y: jax.Array, *, geometry: Geometry) -> jax.Array:
    return _split(_input, kernel, y, geometry)


def kernel_of(x: jax.Array, y: jax.Array, *, geometry: Geometry) -> jax.Array:
    return _split(_kernel, x, y, geometry)


def _output(x, kernel, geometry):
    way = _way(geometry, x.shape[0], x.shape[-1], kernel.shape[-1], x.dtype)
    return _FORWARDS[way](x, kernel, geometry)


def _input(kernel, y, geometry):
    way = _way(geometry, y.shape[0], kernel.shape[-2] * geometry.groups, kernel.shape[-1], y.dtype)
    if way == "blocks":
        return _canonical.input_of(kernel, y, geometry)
    return _dots.transposed_input(_FORWARDS[way], kernel, y, geometry)


def _kernel(x, y, geometry):
    way = _kernel_way(geometry, x.shape[0], x.shape[-1], y.shape[-1], x.dtype)
    if way == "winograd":
        return _winograd.kernel_of(x, y, geometry.padding, geometry.dilation)
    if way == "one by one":
        return _dots.depthwise_kernel(x, y, geometry)
    if way == "blocks":
        return _canonical.kernel_of(x, y, geometry)
    if way == "places":
        return _dots.kernel_by_places(x, y, geometry, _ROOM)
    if way == "lines":
        return _dots.kernel_by_pieces(_dots.kernel_by_lines, x, y, geometry, _planes(x, geometry))
    return _dots.transposed_kernel(_FORWARDS[way], x, y, geometry)


def _way(geometry: Geometry, batch: int, inputs: int, outputs: int, dtype) -> str:
    """The name of the lowering for the output or the input of a convolution of `batch` examples."""
    if geometry.groups > 1:
        return "blocks" if dtype == jnp.float32 and has_onednn() else "shifts"
    if _is_tiles(geometry):
        return "tiles"
    if dtype != jnp.float32:
        return "patches"  # blocked kernels are for float32 alone
    if not has_onednn() and _is_narrow(geometry, batch, inputs, outputs) and max(geometry.stride) == 1:
        return "bands"
    return "blocks"


def _kernel_way(geometry: Geometry, batch: int, inputs: int, outputs: int, dtype) -> str:
    """The name of the lowering for the kernel's gradient."""
    if geometry.groups > 1:
        found = isinstance(batch, int) and outputs == inputs and dtype == jnp.float32 and has_onednn()
        return "one by one" if found else "shifts"
    if _is_tiles(geometry):
        return "tiles"
    if dtype != jnp.float32:
        return "patches"
    if not isinstance(batch, int):
        return "blocks"  # an export for any batch
    if _is_narrow(geometry, batch, inputs, outputs) and max(geometry.stride) == 1:
        return "lines" if geometry.n == 3 else "bands"
    if _is_thin(geometry, batch, inputs, outputs) and max(geometry.stride) == 1:
        return "places"
    threes = all(k == 3 and s == 1 for k, s in zip(geometry.window, geometry.stride, strict=True))
    wide = min(inputs, outputs) >= (_WIDE if batch < _MANY and geometry.n < 3 else _WIDE // 2)
    pays = wide and _work(geometry, batch, inputs, outputs) >= _LARGE and _saves(geometry)
    return "winograd" if threes and pays else "blocks"


def _is_tiles(geometry):
    dims = zip(geometry.window, geometry.stride, geometry.dilation, strict=True)
    return all(k == 1 or (k <= s and d == 1) for k, s, d in dims)


def _is_narrow(geometry, batch, inputs, outputs):
    return isinstance(batch, int) and inputs <= _NARROW and _work(geometry, batch, inputs, outputs) >= _SMALL


def _is_thin(geometry, batch, inputs, outputs):
    """Many examples of large images with few channels."""
    few = min(inputs, outputs) < _WIDE // 2
    large = batch >= _MANY and math.prod(geometry.places) >= _PLACES and math.prod(geometry.window) <= _PRODUCTS
    return few and large and _work(geometry, batch, inputs, outputs) >= _LARGE


def _work(geometry, batch, inputs, outputs):
    return batch * math.prod(geometry.places) * math.prod(geometry.window) * inputs * outputs


def _saves(geometry: Geometry) -> bool:
    """Whether whole tiles of 2 outputs waste less than Winograd saves."""
    tiled = math.prod(4 * -(-place // (2 * d)) * d for place, d in zip(geometry.places, geometry.dilation, strict=True))
    return tiled * 1.2 <= math.prod(3 * place for place in geometry.places)


def _bands(x, kernel, geometry):
    """Bands of about `_RUN` outputs, that divide the line where they can: a ragged one costs a copy of the output."""
    places = geometry.places[-1]
    wanted = _RUN[geometry.n] / kernel.shape[-1]
    even = [k for k in range(1, places + 1) if places % k == 0]
    block = max(even, key=lambda k: (min(k / wanted, wanted / k), k))
    if not 0.4 < block / wanted < 2.5:
        block = -(-places // max(1, round(places / wanted)))
    return _dots.banded(x, kernel, geometry, block)


def _planes(x, geometry):
    """How many planes of an output at a time keep the lines that their windows read in a core's cache."""
    lines = math.prod(geometry.window[:-1]) * math.prod(geometry.places[1:]) * x.shape[-1]
    return divisor(geometry.places[0], _CACHE // (2 * lines * x.dtype.itemsize))


_FORWARDS = {
    "blocks": _canonical.output_of,
    "bands": _bands,
    "shifts": _dots.shifted,
    "tiles": _dots.tiled,
    "patches": lambda *args: _dots.banded(*args, 1),
}


def _split(one, a, b, geometry):
    """`one` for each member of a vmap and each group, in float32 for the narrow types."""
    if a.dtype in (jnp.bfloat16, jnp.float16):
        wide = _split(one, a.astype(jnp.float32), b.astype(jnp.float32), geometry)
        return wide.astype(a.dtype)
    members = b.ndim > geometry.n + 2 if one is _kernel else max(a.ndim, b.ndim) > geometry.n + 2
    if members:
        if a.shape[0] > _MEMBERS:
            return jax.lax.map(lambda pair: _split(one, *pair, geometry), (a, b))
        return jnp.stack([_split(one, a[i], b[i], geometry) for i in range(a.shape[0])])
    if geometry.groups == 1 or _depthwise(one, a, b, geometry):
        return one(a, b, geometry)
    if one is not _kernel and a.dtype == jnp.float32 and has_onednn():
        return one(a, b, geometry)
    return _by_groups(one, a, b, geometry)


def _depthwise(one, a, b, geometry):
    inner = a.shape[-1] // geometry.groups if one is not _input else a.shape[-2]
    return inner == 1


def _by_groups(one, a, b, geometry):
    """One dense convolution a group."""
    groups, alone = geometry.groups, dataclasses.replace(geometry, groups=1)

    def parts(value, axis):
        return jnp.stack(jnp.split(value, groups, axis))

    a, b = parts(a, -1), parts(b, -1)
    if groups <= _GROUPS:
        out = jnp.stack([one(a[i], b[i], alone) for i in range(groups)])
    else:
        out = jax.lax.map(lambda pair: one(*pair, alone), (a, b))
    return jnp.moveaxis(out, 0, -2).reshape(*out.shape[1:-1], -1)
