"""Convolution and pooling as plain NumPy loops: slow, and nothing to get wrong."""

import itertools

import numpy as np


def windows(x, window, stride, pairs, dilation, fill):
    """Yields (place, patch) of x (B, *sizes, C): patch (B, *window, C) under the window at each output place."""
    x = np.pad(x, [(0, 0), *pairs, (0, 0)], constant_values=fill)
    places = [
        (m - (k - 1) * d - 1) // s + 1 for m, k, s, d in zip(x.shape[1:-1], window, stride, dilation, strict=True)
    ]
    for place in itertools.product(*map(range, places)):
        cut = tuple(
            slice(p * s, p * s + (k - 1) * d + 1, d) for p, k, s, d in zip(place, window, stride, dilation, strict=True)
        )
        yield place, x[(slice(None), *cut)]


def conv(x, kernel, stride, pairs, dilation, groups):
    n = kernel.ndim - 2
    inputs, outputs = kernel.shape[-2], kernel.shape[-1] // groups
    found = {}
    for place, patch in windows(x, kernel.shape[:n], stride, pairs, dilation, 0):
        parts = []
        for g in range(groups):
            seen = patch[..., g * inputs : (g + 1) * inputs].reshape(len(x), -1)
            parts.append(seen @ kernel[..., g * outputs : (g + 1) * outputs].reshape(seen.shape[1], -1))
        found[place] = np.concatenate(parts, -1)
    return gathered(found)


def pool(x, reduce, window, stride, pairs, dilation, fill):
    """`reduce` takes a patch (B, places, C) to (B, C)."""
    found = {}
    for place, patch in windows(x, window, stride, pairs, dilation, fill):
        found[place] = reduce(patch.reshape(len(x), -1, x.shape[-1]))
    return gathered(found)


def gathered(found):
    """Outputs by place as one array (B, *places, C)."""
    places = [1 + max(index) for index in zip(*found, strict=True)]
    sample = next(iter(found.values()))
    y = np.zeros((sample.shape[0], *places, sample.shape[-1]), sample.dtype)
    for place, value in found.items():
        y[(slice(None), *place)] = value
    return y
