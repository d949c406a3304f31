"""Interval arithmetic over jaxprs: which pixels each number of each array can depend on.

A `Span` has, for every spatial axis of the image, the first and the last pixel that each element depends on: arrays
that broadcast against the element's array, so that what is the same for all channels is kept once.
"""

import dataclasses
import math

import jax
import numpy as np

from cnnjax import _versions
from cnnjax.analysis._convolved_spans import (
    convolution,
    gathered,
    plain_convolution,
    transposed_convolution,
    whole,
    windows,
)

NOTHING = 1 << 40  # first pixel of what depends on none; the last is minus that


@dataclasses.dataclass(frozen=True)
class Span:
    """First and last pixel per axis of the image, (axes, *broadcastable to the array)."""

    low: tuple[np.ndarray, ...]
    high: tuple[np.ndarray, ...]

    def map(self, function):
        """The same change of shape of every array; `function(array, nothing, smaller)`."""
        low = tuple(_compressed(function(a, NOTHING, np.minimum)) for a in self.low)
        return Span(low, tuple(_compressed(function(a, -NOTHING, np.maximum)) for a in self.high))


class Free:
    """Some number that is not known and does not depend on the image: a parameter."""


FREE = Free()


def image(sizes: tuple[int, ...]) -> Span:
    """The span of the image (1, *sizes, C) itself: every pixel depends on its own place."""
    arrays = []
    for axis, size in enumerate(sizes, 1):
        shape = [1] * (len(sizes) + 2)
        shape[axis] = size
        arrays.append(np.arange(size).reshape(shape))
    return Span(tuple(arrays), tuple(arrays))


def follow(jaxpr, arguments: list) -> list:
    """What the outputs of a jaxpr depend on, given Spans, known arrays and FREE for its constants and inputs."""
    env = dict(zip((*jaxpr.constvars, *jaxpr.invars), arguments, strict=True))

    def read(variable):
        return np.asarray(variable.val) if hasattr(variable, "val") else env[variable]

    for equation in jaxpr.eqns:
        values = [read(variable) for variable in equation.invars]
        env.update(zip(equation.outvars, _outcome(equation, values), strict=True))
    return [read(variable) for variable in jaxpr.outvars]


def _outcome(equation, values):
    parts = list(_versions.inner_jaxprs(equation))
    if len(parts) == 1 and len(parts[0][0].invars) == len(values) and equation.primitive.name != "scan":
        ((part, constants),) = parts
        return follow(part, [*map(np.asarray, constants), *values])
    if not any(isinstance(value, Span) for value in values):
        return _folded(equation, values)
    name = equation.primitive.name
    if name == "optimization_barrier":
        return values
    if name == "split":
        return _split(equation, values)
    rule = _RULES.get(name)
    if rule is None and name in _POINTWISE:
        rule = _pointwise
    if rule is None:
        raise ValueError(f"the receptive field of {name!r} is not known; jacobian_field measures it instead")
    return [rule(equation, values)] * len(equation.outvars)


def _folded(equation, values):
    """Numbers that are known stay known (the weights of a resize), everything else is free."""
    most = max((math.prod(v.aval.shape) for v in equation.outvars), default=0)
    if any(value is FREE for value in values) or any(_versions.inner_jaxprs(equation)) or most > 1 << 24:
        return [FREE] * len(equation.outvars)
    with jax.ensure_compile_time_eval():
        out = equation.primitive.bind(*values, **equation.params)
    return [np.asarray(o) for o in out] if equation.primitive.multiple_results else [np.asarray(out)]


def _compressed(array):
    """The array with every axis along which it is constant kept once."""
    for axis, size in enumerate(array.shape):
        if size > 1:
            first, second = (array[(slice(None),) * axis + (slice(i, i + 1),)] for i in (0, 1))
            if (first == second).all() and (array == first).all():
                array = first
    return array


def _spans(values):
    return [value for value in values if isinstance(value, Span)]


def _joined(spans):
    low = tuple(_reduced(arrays, np.minimum) for arrays in zip(*(span.low for span in spans), strict=True))
    return Span(low, tuple(_reduced(arrays, np.maximum) for arrays in zip(*(span.high for span in spans), strict=True)))


def _reduced(arrays, smaller):
    out = arrays[0]
    for array in arrays[1:]:
        out = smaller(out, array)
    return out


def _pointwise(equation, values):
    rank = len(equation.outvars[0].aval.shape)
    return _joined([span.map(lambda a, *_: a.reshape((1,) * (rank - a.ndim) + a.shape)) for span in _spans(values)])


def _broadcast(equation, values):
    shape, places = equation.params["shape"], equation.params["broadcast_dimensions"]

    def spread(array, *_):
        out = [1] * len(shape)
        for axis, place in enumerate(places):
            out[place] = array.shape[axis]
        return array.reshape(out)

    return _spans(values)[0].map(spread)


def _reshape(equation, values):
    old, new = equation.invars[0].aval.shape, equation.outvars[0].aval.shape
    groups = _reshape_groups(old, new)

    def change(array, *_):
        out = []
        for axes, sizes in groups:
            if all(array.shape[axis] == 1 for axis in axes):
                out += [1] * len(sizes)
            else:
                for axis in axes:
                    array = whole(array, axis, old[axis])
                out += sizes
        return array.reshape(out)

    return _spans(values)[0].map(change)


def _reshape_groups(old, new):
    """Runs of old axes and the sizes of the new axes that hold the same elements."""
    groups, i, j = [], 0, 0
    while i < len(old) or j < len(new):
        axes, sizes, a, b = [], [], 1, 1
        while (not axes and not sizes) or a != b:
            if (a <= b and i < len(old)) or j >= len(new):
                axes.append(i)
                a, i = a * old[i], i + 1
            else:
                sizes.append(new[j])
                b, j = b * new[j], j + 1
        groups.append((axes, sizes))
    return groups


def _transpose(equation, values):
    return _spans(values)[0].map(lambda a, *_: a.transpose(equation.params["permutation"]))


def _squeeze(equation, values):
    return _spans(values)[0].map(lambda a, *_: a.squeeze(equation.params["dimensions"]))


def _expand(equation, values):
    return _spans(values)[0].map(lambda a, *_: np.expand_dims(a, equation.params["dimensions"]))


def _reverse(equation, values):
    return _spans(values)[0].map(lambda a, *_: np.flip(a, equation.params["dimensions"]))


def _slice(equation, values):
    start, limit = equation.params["start_indices"], equation.params["limit_indices"]
    steps = equation.params["strides"] or (1,) * len(start)
    cuts = list(zip(start, limit, steps, strict=True))

    def cut(array, *_):
        return array[tuple(slice(None) if n == 1 else slice(*c) for n, c in zip(array.shape, cuts, strict=True))]

    return _spans(values)[0].map(cut)


def _concatenate(equation, values):
    return _side_by_side(values, equation.params["dimension"], [variable.aval.shape for variable in equation.invars])


def _stack(equation, values):
    axis = equation.params["axis"]
    shape = equation.outvars[0].aval.shape
    single = (*shape[:axis], 1, *shape[axis + 1 :])
    spread = [v.map(lambda a, *_: np.expand_dims(a, axis)) if isinstance(v, Span) else v for v in values]
    return _side_by_side(spread, axis, [single] * len(values))


def _split(equation, values):
    axis, sizes = equation.params["axis"], equation.params["sizes"]
    stops = np.cumsum(sizes)

    def part(start, stop):
        cut = (slice(None),) * axis + (slice(start, stop),)
        return values[0].map(lambda a, *_: a if a.shape[axis] == 1 else a[cut])

    return [part(stop - size, stop) for size, stop in zip(sizes, stops, strict=True)]


def _side_by_side(values, axis, shapes):
    """What the arrays depend on, one after the other along an axis."""
    sides = zip((NOTHING, -NOTHING), (_spans(values)[0].low, _spans(values)[0].high), strict=True)
    empty = Span(*(tuple(np.full((1,) * a.ndim, far) for a in arrays) for far, arrays in sides))
    spans = [value if isinstance(value, Span) else empty for value in values]

    def joined(arrays):
        wide = np.broadcast_shapes(*((*a.shape[:axis], 1, *a.shape[axis + 1 :]) for a in arrays))
        sizes = ((*wide[:axis], shape[axis], *wide[axis + 1 :]) for shape in shapes)
        return _compressed(np.concatenate(list(map(np.broadcast_to, arrays, sizes)), axis))

    ends = [span.low for span in spans], [span.high for span in spans]
    return Span(*(tuple(map(joined, zip(*each, strict=True))) for each in ends))


def _pad(equation, values):
    old = equation.invars[0].aval.shape

    def padded(array, nothing, _):
        for axis, (low, high, inside) in enumerate(equation.params["padding_config"]):
            alike = 0 < axis < len(old) - 1 and array.shape[axis] == 1 < old[axis]
            if (low or high or inside) and not alike:  # what is alike in all columns is so between and around them
                array, size = whole(array, axis, old[axis]), old[axis]
                spread = np.full((*array.shape[:axis], size + (size - 1) * inside, *array.shape[axis + 1 :]), nothing)
                spread[(slice(None),) * axis + (slice(None, None, 1 + inside),)] = array
                index = np.arange(-low, spread.shape[axis] + high)[:, None]
                array = gathered(spread, axis, spread.shape[axis], index, nothing, np.minimum)
        return array

    return values[0].map(padded) if isinstance(values[0], Span) else values[1]


def _reduce(equation, values):
    axes = equation.params["axes"]

    def reduced(array, _, smaller):
        return smaller.reduce(array, tuple(axes)) if axes else array

    return _joined([span.map(reduced) for span in _spans(values)])


def _reduce_window(equation, values):
    params, shape = equation.params, equation.invars[0].aval.shape
    places = equation.outvars[0].aval.shape
    if any(step != 1 for step in params.get("base_dilation", (1,))):
        raise ValueError("the receptive field of a window over a dilated array is not known")
    dilation = params.get("window_dilation", (1,) * len(shape))

    def pooled(array, nothing, smaller):
        for axis, window in enumerate(params["window_dimensions"]):
            stride, low = params["window_strides"][axis], params["padding"][axis][0]
            if window > 1 or stride > 1:
                index = windows(places[axis], window, stride, low, dilation[axis])
                array = gathered(array, axis, shape[axis], index, nothing, smaller)
        return array

    return _spans(values)[0].map(pooled)


def _nonzeros(matrix):
    """The columns where each row is not zero, filled up with −1."""
    counts = (matrix != 0).sum(1)
    order = np.argsort(matrix == 0, 1, kind="stable")[:, : counts.max()]
    return np.where(np.arange(counts.max()) < counts[:, None], order, -1)


def _dot(equation, values):
    (left, right), (left_batch, right_batch) = equation.params["dimension_numbers"]
    first = isinstance(values[0], Span)
    if first and isinstance(values[1], Span):
        raise ValueError("the receptive field of a product of two things made from the image is not known")
    span, other = (values[0], values[1]) if first else (values[1], values[0])
    own, batch = (left, left_batch) if first else (right, right_batch)
    theirs, their_batch = (right, right_batch) if first else (left, left_batch)
    shape = equation.invars[0 if first else 1].aval.shape
    other_shape = equation.invars[1 if first else 0].aval.shape
    kept = [axis for axis in range(len(shape)) if axis not in own and axis not in batch]
    free = [axis for axis in range(len(other_shape)) if axis not in theirs and axis not in their_batch]
    known = not isinstance(other, Free) and len(own) == 1 and not batch

    def product(array, nothing, smaller):
        array = array.transpose((*batch, *kept, *own))
        lead = array.ndim - len(own)
        if known and array.shape[-1] > 1:  # zeros of a known matrix, a resize's, let nothing through
            index = _nonzeros(np.moveaxis(other, theirs[0], -1).reshape(-1, other.shape[theirs[0]]))
            array = gathered(array, array.ndim - 1, array.shape[-1], index, nothing, smaller)
            array = array.reshape(*array.shape[:-1], *(other_shape[axis] for axis in free))
        else:
            array = smaller.reduce(array, tuple(range(lead, array.ndim))).reshape(*array.shape[:lead], *[1] * len(free))
        if first:
            return array
        order = (*range(len(batch)), *range(lead, array.ndim), *range(len(batch), lead))
        return array.transpose(order)

    return span.map(product)


_NAMES = (
    "abs acos add add_any and asin atan atan2 cbrt ceil clamp convert_element_type copy copy_p cos cosh device_put div "
    "eq erf erf_inv erfc exp exp2 expm1 floor ge gt imag integer_pow is_finite le lgamma log log1p logistic lt max min "
    "mul ne neg nextafter not or pcast pow pvary real reduce_precision rem round rsqrt select_n sign sin sinh sqrt "
    "square stop_gradient sub tan tanh xor"
)
_POINTWISE = frozenset(_NAMES.split())
_RULES = {
    "broadcast_in_dim": _broadcast,
    "concatenate": _concatenate,
    "dot_general": _dot,
    "expand_dims": _expand,
    "pad": _pad,
    "reshape": _reshape,
    "rev": _reverse,
    "slice": _slice,
    "squeeze": _squeeze,
    "stack": _stack,
    "transpose": _transpose,
    **dict.fromkeys(("reduce_max", "reduce_min", "reduce_sum", "reduce_prod", "argmax", "argmin"), _reduce),
    **dict.fromkeys(("reduce_window", "reduce_window_max", "reduce_window_min", "reduce_window_sum"), _reduce_window),
    "conv_output": convolution,
    "conv_input": transposed_convolution,
    "conv_general_dilated": plain_convolution,
}
