"""Which outputs hang on which inputs, and a convolution as the matrix that it is."""

from collections.abc import Callable, Sequence
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from cnnjax.analysis import _intervals
from cnnjax.ops.shapes import output_size, pad_pairs, per_dimension
from cnnjax.refusals import refuse_misfits

__all__ = ["as_matrix", "connectivity"]

_DRAWS = 4
_LARGEST = 1 << 26  # connections that are held at once
Ints = int | Sequence[int]


def connectivity(
    f: Callable[[jax.Array], jax.Array], shape: tuple[int, ...], *, by: Literal["wiring", "gradient"] = "wiring"
) -> np.ndarray:
    """Which outputs of a function of arrays (1, *sizes, C) hang on which inputs: true or false (outputs, inputs).

    Both are counted in the order of their arrays. By its "wiring" an output can hang on an input, whatever the weights
    are, zeros too: from the first that it sees to the last, along each axis and of the channels, so that the holes of a
    dilated kernel count. By its "gradient" it does, at some of four arrays of random numbers.
    """
    refuse_misfits(connectivity, {"by": by})
    if len(shape) < 3 or shape[0] != 1:
        raise ValueError(f"shape is {shape}; it must be that of one array, (1, *sizes, C)")
    outputs = jax.eval_shape(f, jax.ShapeDtypeStruct(shape, jnp.float32))
    if outputs.size * int(np.prod(shape)) > _LARGEST:
        raise ValueError(f"shape is {shape}, which has {outputs.size:,} outputs: too many to hold their connections")
    if by == "wiring":
        return _wired(f, shape, outputs.shape)
    slope = jax.jit(jax.jacrev(f) if outputs.size < np.prod(shape) else jax.jacfwd(f))
    draws = np.random.default_rng(0).normal(size=(_DRAWS, *shape)).astype(np.float32)
    found = [np.asarray(slope(draw)).reshape(outputs.size, -1) != 0 for draw in draws]
    return np.any(found, 0)


def _wired(f, shape, out):
    """By intervals; channels are an axis like the others here."""
    closed = jax.make_jaxpr(f)(jax.ShapeDtypeStruct(shape, jnp.float32))
    places = [
        np.arange(size).reshape([-1 if i == axis else 1 for i in range(len(shape))]) for axis, size in enumerate(shape)
    ]
    image = _intervals.Span(tuple(places[1:]), tuple(places[1:]))
    try:
        span = _intervals.follow(closed.jaxpr, [*map(np.asarray, closed.consts), image])[0]
    except ValueError as error:
        told = str(error).partition(";")[0]
        raise ValueError(f"{told}; by='gradient' finds what hangs on what by numbers") from None
    if not isinstance(span, _intervals.Span):
        return np.zeros((int(np.prod(out)), int(np.prod(shape))), bool)
    found = np.ones((int(np.prod(out)), 1), bool)
    for size, low, high in zip(shape[1:], span.low, span.high, strict=True):
        low, high = (np.broadcast_to(each, out).reshape(-1, 1) for each in (low, high))
        along = (low <= np.arange(size)) & (np.arange(size) <= high)
        found = (found[:, :, None] & along[:, None, :]).reshape(len(found), -1)
    return found


def as_matrix(
    kernel: jax.Array,
    shape: tuple[int, ...],
    *,
    stride: Ints = 1,
    padding: str | Ints | Sequence[Sequence[int]] = "valid",
    dilation: Ints = 1,
    groups: int = 1,
    flip: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """The matrix (outputs, inputs) of a convolution by a kernel (*window, C // groups, K), and which of the kernel's
    entries stands in each of its places (outputs, inputs), −1 for none.

    It takes arrays (*sizes, C) of a `shape`, of which the matrix reads the numbers in their order. Options are those of
    `ops.conv`, but that a mirrored border has no one entry for each place.
    """
    kernel, n = np.asarray(kernel), np.ndim(kernel) - 2
    if n < 1 or len(shape) != n + 1 or shape[-1] != kernel.shape[-2] * groups or kernel.shape[-1] % groups:
        raise ValueError(
            f"kernel {kernel.shape} in groups of {groups} reads no array of shape {shape}; it must be (*window, "
            "C // groups, K), and the shape (*sizes, C)"
        )
    sizes, window, around = shape[:-1], kernel.shape[:n], padding == "circular"
    stride, dilation = per_dimension("stride", stride, n), per_dimension("dilation", dilation, n)
    if padding == "reflect" or (
        around and any((k - 1) * d >= s for k, d, s in zip(window, dilation, sizes, strict=True))
    ):
        raise ValueError(f"padding is {padding!r}; a place of the input would be read by several entries of {window}")
    pairs = pad_pairs("same" if around else padding, sizes, window, stride, dilation)
    lines = []
    for size, k, step, (low, high), apart in zip(sizes, window, stride, pairs, dilation, strict=True):
        places = output_size(size, k, step, (low, high), apart)
        read = np.arange(places)[:, None] * step - low + np.arange(k) * apart
        lines.append(read % size if around else np.where((read >= 0) & (read < size), read, -1))
    which = _entries(lines, sizes, window, kernel.shape[-2:], groups)
    weights = np.where(which < 0, 0, (np.flip(kernel, range(n)) if flip else kernel).ravel()[which])
    if flip:
        turned = np.flip(np.arange(kernel.size).reshape(kernel.shape), range(n)).ravel()
        which = np.where(which < 0, -1, turned[which])
    return weights, which


def _entries(lines, sizes, window, channels, groups):
    """Which entry of a kernel is read at which place, of what is read along each axis (places, window)."""
    inputs, outputs = channels
    counts = tuple(len(line) for line in lines)
    which = np.full((int(np.prod(counts)), outputs, int(np.prod(sizes)), inputs * groups), -1)
    out = np.arange(outputs)
    for entry in np.ndindex(*window):
        read = np.meshgrid(*(line[:, k] for line, k in zip(lines, entry, strict=True)), indexing="ij")
        read = np.stack([each.ravel() for each in read])
        places = np.flatnonzero((read >= 0).all(0))
        there = np.ravel_multi_index(tuple(read[:, places]), sizes)
        for channel in range(inputs):
            index = np.ravel_multi_index(
                (*([k] * outputs for k in entry), [channel] * outputs, out), (*window, *channels)
            )
            which[places[:, None], out, there[:, None], out // (outputs // groups) * inputs + channel] = index
    return which.reshape(which.shape[0] * outputs, -1)
