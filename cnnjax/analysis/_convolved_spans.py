"""Interval arithmetic through convolutions: ours, and those of `lax` as flax has them."""

import numpy as np

from cnnjax.ops.shapes import output_size


def whole(array, axis, size):
    """The array with its full length along an axis."""
    return np.repeat(array, size, axis) if array.shape[axis] == 1 and size != 1 else array


def gathered(array, axis, size, index, nothing, smaller):
    """The extreme over the entries index[o, k] of an axis, those outside 0…size−1 counting as nothing: one per o."""
    if array.shape[axis] == 1:
        return array
    taken = np.take(array, np.clip(index, 0, size - 1), axis)
    outside = ((index < 0) | (index >= size)).reshape([1] * axis + list(index.shape) + [1] * (array.ndim - axis - 1))
    return smaller.reduce(np.where(outside, nothing, taken), axis + 1)


def windows(places, window, stride, low, dilation):
    return np.arange(places)[:, None] * stride - low + np.arange(window)[None] * dilation


def _channels(array, groups, out, nothing, smaller):
    """Over the channels of each group, for every output channel of the group."""
    if array.shape[-1] == 1 or groups == 1:
        return smaller.reduce(array, -1, keepdims=True)
    parted = smaller.reduce(array.reshape(*array.shape[:-1], groups, -1), -1)
    return np.repeat(parted, out // groups, -1)


def convolution(equation, values):
    geometry, span = equation.params["geometry"], _read(values)
    out = equation.outvars[0].aval.shape[-1]

    def convolved(array, nothing, smaller):
        for axis, (size, window, stride, (low, high), dilation) in enumerate(_dims(geometry), 1):
            places = output_size(size, window, stride, (low, high), dilation)
            array = gathered(array, axis, size, windows(places, window, stride, low, dilation), nothing, smaller)
        return _channels(array, geometry.groups, out, nothing, smaller)

    return span.map(convolved)


def transposed_convolution(equation, values):
    geometry, span = equation.params["geometry"], values[1]
    out = equation.outvars[0].aval.shape[-1]

    def convolved(array, nothing, smaller):
        for axis, (size, window, stride, (low, high), dilation) in enumerate(_dims(geometry), 1):
            places = output_size(size, window, stride, (low, high), dilation)
            offset = np.arange(size)[:, None] + low - np.arange(window)[None] * dilation
            index = np.where(offset % stride == 0, offset // stride, -1)
            array = gathered(array, axis, places, index, nothing, smaller)
        return _channels(array, geometry.groups, out, nothing, smaller)

    return span.map(convolved)


def plain_convolution(equation, values):
    """What a `conv_general_dilated` of any layout reads."""
    params, span, sizes = equation.params, _read(values), equation.invars[0].aval.shape
    layout, kernel, out = params["dimension_numbers"]
    if params["batch_group_count"] != 1:
        raise ValueError("the receptive field of a convolution in groups of the batch is not known")
    shape, window = equation.outvars[0].aval.shape, equation.invars[1].aval.shape
    inside = (layout[0], *layout[2:], layout[1])
    back = np.argsort((out[0], *out[2:], out[1]))

    def convolved(array, nothing, smaller):
        array = array.transpose(inside)
        for k, axis in enumerate(layout[2:]):
            places, stride, low = shape[out[2 + k]], params["window_strides"][k], params["padding"][k][0]
            index = windows(places, window[kernel[2 + k]], stride, low, params["rhs_dilation"][k])
            apart = params["lhs_dilation"][k]  # zeros between the pixels are none
            index = np.where((index >= 0) & (index % apart == 0), index // apart, -1)
            array = gathered(array, 1 + k, sizes[axis], index, nothing, smaller)
        array = _channels(array, params["feature_group_count"], shape[out[1]], nothing, smaller)
        return array.transpose(back)

    return span.map(convolved)


def _read(values):
    if not hasattr(values[0], "map"):
        raise ValueError("the receptive field of a convolution with a kernel made from the image is not known")
    return values[0]


def _dims(geometry):
    return zip(geometry.sizes, geometry.window, geometry.stride, geometry.padding, geometry.dilation, strict=True)
