"""Convolution and its adjoint, channels last, over 1, 2 or 3 spatial dimensions."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from cnnjax.ops._lowering import Geometry, input_of, multiplies, output_of
from cnnjax.ops.shapes import output_size, pad_pairs, per_dimension, transposed_size

__all__ = ["conv", "conv_transpose", "multiplies", "separable_conv"]

_CONTINUED = {"circular": "wrap", "reflect": "reflect"}
Ints = int | Sequence[int]
Padding = str | int | Sequence[int] | Sequence[Sequence[int]]


def conv(
    x: jax.Array,
    kernel: jax.Array,
    *,
    stride: Ints = 1,
    padding: Padding = "valid",
    dilation: Ints = 1,
    groups: int = 1,
    flip: bool = False,
) -> jax.Array:
    """Cross-correlation of x (B, *sizes, C) with a kernel (*window, C // groups, outputs): (B, *sizes', outputs).

    `padding` "circular" and "reflect" are as wide as "same": x goes on from its other end, or mirrored at its border.
    `flip` turns the kernel round in space, which makes it the convolution of mathematics.
    """
    n = _rank(x, kernel)
    if x.shape[-1] != kernel.shape[-2] * groups or kernel.shape[-1] % groups:
        raise ValueError(
            f"groups is {groups}: x {x.shape} has {x.shape[-1]} channels and kernel {kernel.shape} reads "
            f"{kernel.shape[-2]} per group and gives {kernel.shape[-1]} outputs"
        )
    stride, dilation = per_dimension("stride", stride, n), per_dimension("dilation", dilation, n)
    sizes, window = x.shape[1:-1], kernel.shape[:n]
    if isinstance(padding, str) and padding in _CONTINUED:
        x, padding = _continued(x, padding, window, stride, dilation), "valid"
        sizes = x.shape[1:-1]
    pairs = pad_pairs(padding, sizes, window, stride, dilation)
    for dims in zip(sizes, window, stride, pairs, dilation, strict=True):
        output_size(*dims)
    x, kernel = _promoted(x, kernel)
    kernel = jnp.flip(kernel, range(n)) if flip else kernel
    return output_of(x, kernel, Geometry(sizes, window, stride, pairs, dilation, groups))


def conv_transpose(
    x: jax.Array,
    kernel: jax.Array,
    *,
    stride: Ints = 1,
    padding: int | Sequence[int] | Sequence[Sequence[int]] = 0,
    output_padding: Ints = 0,
    dilation: Ints = 1,
    groups: int = 1,
) -> jax.Array:
    """The adjoint of the convolution with this kernel (*window, outputs // groups, C), from (B, *sizes, C) to outputs.

    sizes' = (sizes − 1) · stride − padding + dilation · (window − 1) + 1 + output_padding, PyTorch's rule.
    """
    n = _rank(x, kernel)
    if x.shape[-1] != kernel.shape[-1] or x.shape[-1] % groups:
        raise ValueError(
            f"groups is {groups}: x {x.shape} has {x.shape[-1]} channels and "
            f"kernel {kernel.shape} reads {kernel.shape[-1]}"
        )
    stride, dilation = per_dimension("stride", stride, n), per_dimension("dilation", dilation, n)
    extra = per_dimension("output_padding", output_padding, n, least=0)
    sizes, window = x.shape[1:-1], kernel.shape[:n]
    if isinstance(padding, str):
        raise ValueError(
            f"padding is {padding!r}; a transposed convolution takes an int, {n} ints or {n} (low, high) pairs"
        )
    pairs = pad_pairs(padding, sizes, window, stride, dilation)
    for e, s, d in zip(extra, stride, dilation, strict=True):
        if e >= max(s, d):
            raise ValueError(
                f"output_padding is {output_padding!r}; it must be less than stride {stride} or dilation {dilation}"
            )
    outer = tuple(transposed_size(*dims) for dims in zip(sizes, window, stride, pairs, extra, dilation, strict=True))
    if min(outer) < 1:
        raise ValueError(
            f"padding {padding!r} leaves nothing: x {x.shape} with kernel {kernel.shape} gives sizes {outer}"
        )
    # beyond a stride the rest is no place that the convolution would leave unread: less is cut off, then comes nothing
    kept = [min(e, high) if e >= s else 0 for (_, high), e, s in zip(pairs, extra, stride, strict=True)]
    blank = [e - k if e >= s else 0 for k, e, s in zip(kept, extra, stride, strict=True)]
    pairs = tuple((low, high - k) for (low, high), k in zip(pairs, kept, strict=True))
    inner = tuple(size - b for size, b in zip(outer, blank, strict=True))
    x, kernel = _promoted(x, kernel)
    y = input_of(kernel, x, Geometry(inner, window, stride, pairs, dilation, groups))
    return jnp.pad(y, [(0, 0), *((0, b) for b in blank), (0, 0)]) if any(blank) else y


def separable_conv(
    x: jax.Array,
    depthwise: jax.Array,
    pointwise: jax.Array,
    *,
    stride: Ints = 1,
    padding: Padding = "valid",
    dilation: Ints = 1,
) -> jax.Array:
    """A depthwise kernel (*window, 1, C · multiplier), then a pointwise one (*ones, C · multiplier, outputs)."""
    x = conv(x, depthwise, stride=stride, padding=padding, dilation=dilation, groups=x.shape[-1])
    return conv(x, pointwise)


def _continued(x: jax.Array, padding: str, window: Sequence[int], stride: Sequence[int], dilation: Sequence[int]):
    """x with as much around it as "same" would add."""
    pairs = pad_pairs("same", x.shape[1:-1], window, stride, dilation)
    if padding == "reflect" and any(max(pair) >= size for pair, size in zip(pairs, x.shape[1:-1], strict=True)):
        raise ValueError(f"padding is 'reflect'; x {x.shape} is too small to be mirrored by {pairs}")
    return jnp.pad(x, [(0, 0), *pairs, (0, 0)], _CONTINUED[padding])


def _rank(x: jax.Array, kernel: jax.Array) -> int:
    n = kernel.ndim - 2
    if n not in (1, 2, 3):
        raise ValueError(
            f"kernel has shape {kernel.shape}; it must be (*window, inputs, outputs) with 1, 2 or 3 window sizes"
        )
    if x.ndim != kernel.ndim:
        raise ValueError(
            f"x {x.shape} must be (batch, {n} sizes, channels) for kernel {kernel.shape}: "
            f"{n + 2} dimensions, not {x.ndim}"
        )
    return n


def _promoted(x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, jax.Array]:
    dtype = jnp.result_type(x, kernel)
    dtype = dtype if jnp.issubdtype(dtype, jnp.floating) else jnp.promote_types(dtype, jnp.float32)
    return x.astype(dtype), kernel.astype(dtype)
