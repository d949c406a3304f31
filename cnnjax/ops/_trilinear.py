"""The three convolutions as JAX primitives, each the transpose of the other two.

Convolution is one trilinear form T(x, kernel, y) = ⟨conv(x, kernel), y⟩. Leaving out one of its three arrays gives
three bilinear operators: `output` (y from x and kernel), `input` (x from y and kernel) and `kernel` (the kernel
from x and y). Each one's derivatives with respect to its operands are the other two, so forward mode, reverse mode
and every mixture of them close over these three, and each of them is lowered to what its platform does fastest
(see README.md). Under vmap an operand that the members share is folded into the batch or the channels of the other;
where nothing is shared both operands get a leading member axis.
"""

import dataclasses
import functools
import math

import jax

from cnnjax import _versions
from cnnjax.ops.shapes import output_size

INPUT, KERNEL, OUTPUT = "input", "kernel", "output"


@dataclasses.dataclass(frozen=True)
class Geometry:
    """Everything static about a convolution but its batch and channels; `sizes` are those of the input."""

    sizes: tuple[int, ...]
    window: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]
    groups: int

    @property
    def n(self) -> int:
        return len(self.sizes)

    @property
    def places(self) -> tuple[int, ...]:
        """The sizes of the output."""
        dims = zip(self.sizes, self.window, self.stride, self.padding, self.dilation, strict=True)
        return tuple(output_size(*each) for each in dims)


def _result_shape(missing: str, a, b, geometry: Geometry) -> tuple[int, ...]:
    """The shape of the `missing` array of the form, given the other two in the order input, kernel, output."""
    n, groups = geometry.n, geometry.groups
    members = a.shape[: a.ndim - n - 2]
    if missing == OUTPUT:
        return (*a.shape[: len(members) + 1], *geometry.places, b.shape[-1])
    if missing == INPUT:
        return (*b.shape[: len(members) + 1], *geometry.sizes, a.shape[-2] * groups)
    return (*members, *geometry.window, a.shape[-1] // groups, b.shape[-1])


def _primitive(missing: str):
    @functools.cache
    def compiled(geometry):
        return jax.jit(functools.partial(primitive.bind, geometry=geometry))

    def abstract(a, b, *, geometry):
        return _versions.with_shape(a, _result_shape(missing, a, b, geometry))

    primitive = _versions.primitive(f"conv_{missing}", lambda a, b, *, geometry: compiled(geometry)(a, b), abstract)
    return primitive


def _alike(a: jax.Array, b: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Both arrays varying over the same mesh axes, as shard_map's check asks of the operands of one operator."""
    axes = [_versions.varying_axes(value) for value in (a, b)]
    both = axes[0] | axes[1]
    return tuple(
        jax.lax.pcast(value, tuple(both - own), to="varying") if both - own else value
        for value, own in zip((a, b), axes, strict=True)
    )


output_p, input_p, kernel_p = _primitive(OUTPUT), _primitive(INPUT), _primitive(KERNEL)


def output_of(x: jax.Array, kernel: jax.Array, geometry: Geometry) -> jax.Array:
    return output_p.bind(*_alike(x, kernel), geometry=geometry)


def input_of(kernel: jax.Array, y: jax.Array, geometry: Geometry) -> jax.Array:
    return input_p.bind(*_alike(kernel, y), geometry=geometry)


def kernel_of(x: jax.Array, y: jax.Array, geometry: Geometry) -> jax.Array:
    return kernel_p.bind(*_alike(x, y), geometry=geometry)


_versions.define_bilinear(
    output_p,
    lambda ct, x, kernel, *, geometry: input_of(kernel, ct, geometry),
    lambda ct, x, kernel, *, geometry: kernel_of(x, ct, geometry),
)
_versions.define_bilinear(
    input_p,
    lambda ct, kernel, y, *, geometry: kernel_of(ct, y, geometry),
    lambda ct, kernel, y, *, geometry: output_of(ct, kernel, geometry),
)
_versions.define_bilinear(
    kernel_p,
    lambda ct, x, y, *, geometry: input_of(ct, y, geometry),
    lambda ct, x, y, *, geometry: output_of(x, ct, geometry),
)


def _fold_batch(a, dim, at):
    """Moves axis `dim` before the batch, which is then axis `at`, and merges the two."""
    a = jax.numpy.moveaxis(a, dim, at)
    return a.reshape(*a.shape[:at], -1, *a.shape[at + 2 :])


def _unfold_batch(a, many, at):
    return a.reshape(*a.shape[:at], many, -1, *a.shape[at + 1 :]), at


def _fold_last(a, dim, groups):
    """Merges axis `dim` into the channels, inside each group: channels run group, member, channel."""
    a = jax.numpy.moveaxis(a, dim, -2)
    a = a.reshape(*a.shape[:-1], groups, -1).swapaxes(-2, -3)
    return a.reshape(*a.shape[:-3], -1)


def _unfold_last(a, many, groups):
    moved = jax.numpy.moveaxis(a.reshape(*a.shape[:-1], groups, many, -1), -2, 0)
    return moved.reshape(*moved.shape[:-2], -1), 0


def _fold_inner(a, dim):
    """Merges axis `dim` into the inputs of a kernel."""
    a = jax.numpy.moveaxis(a, dim, -3)
    return a.reshape(*a.shape[:-3], -1, a.shape[-1])


def _unfold_inner(a, many):
    a = a.reshape(*a.shape[:-2], many, -1, a.shape[-1])
    return jax.numpy.moveaxis(a, -3, 0), 0


def _batcher(primitive, missing):
    def rule(operands, dims, *, geometry):
        a, b = operands
        first, second = dims
        many = a.shape[first] if first is not None else b.shape[second]
        bind = functools.partial(primitive.bind, geometry=geometry)
        if first is not None and second is not None:
            a, b = jax.numpy.moveaxis(a, first, 0), jax.numpy.moveaxis(b, second, 0)
            inner = a.shape[1 : a.ndim - geometry.n - 2]
            a, b = (value.reshape(-1, *value.shape[1 + len(inner) :]) for value in (a, b))
            out = bind(a, b)
            return out.reshape(many, *inner, *out.shape[1:]), 0
        at = (a.ndim if first is None else b.ndim) - geometry.n - 2
        groups = geometry.groups
        if missing == OUTPUT and second is None:
            return _unfold_batch(bind(_fold_batch(a, first, at), b), many, at)
        if missing == OUTPUT:
            return _unfold_last(bind(a, _fold_last(b, second, groups)), many, groups)
        if missing == INPUT and first is None:
            return _unfold_batch(bind(a, _fold_batch(b, second, at)), many, at)
        if missing == INPUT:
            return _unfold_last(bind(_fold_inner(a, first), b), many, groups)
        if second is None:
            return _unfold_inner(bind(_fold_last(a, first, groups), b), many)
        return _unfold_last(bind(a, _fold_last(b, second, groups)), many, groups)

    return rule


for _each, _missing in ((output_p, OUTPUT), (input_p, INPUT), (kernel_p, KERNEL)):
    _versions.define_batching(_each, _batcher(_each, _missing))


def multiplies(equation) -> int:
    """The multiplies of one equation of a jaxpr: those of the sum it stands for, zeros of the padding included."""
    if equation.primitive not in (output_p, input_p, kernel_p):
        return 0
    geometry = equation.params["geometry"]
    shapes = [value.aval.shape for value in (*equation.invars, *equation.outvars)]
    order = {output_p: (0, 1, 2), input_p: (2, 0, 1), kernel_p: (0, 2, 1)}[equation.primitive]
    x, kernel, _ = (shapes[i] for i in order)
    return math.prod(kernel) * math.prod(geometry.places) * x[len(x) - geometry.n - 2]
