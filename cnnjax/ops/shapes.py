"""The arithmetic of sizes: one rule for windows, strides, padding and dilation, used everywhere."""

import math
from collections.abc import Sequence
from typing import Literal, get_args

import jax

from cnnjax.refusals import one_of

__all__ = ["causal_padding", "flat", "output_size", "pad_pairs", "per_dimension", "transposed_size"]

PaddingName = Literal["valid", "same", "full"]
Padding = PaddingName | int | Sequence[int] | Sequence[Sequence[int]]


def divisor(count: int, most: int) -> int:
    """The largest divisor of `count` up to `most`, at least 1."""
    return max(k for k in range(1, max(1, min(count, most)) + 1) if count % k == 0)


def flat(x: jax.Array) -> jax.Array:
    """x (B, …) as (B, N), of an empty batch too."""
    return x.reshape(x.shape[0], math.prod(x.shape[1:]))


def rank(x: jax.Array, allowed: Sequence[int] = (1, 2, 3)) -> int:
    """How many sizes x (batch, *sizes, channels) has, or an error where they are not as many as `allowed`."""
    n = x.ndim - 2
    if n not in allowed:
        many = ", ".join(map(str, allowed[:-1])) + " or " * (len(allowed) > 1) + str(allowed[-1])
        raise ValueError(f"x has shape {x.shape}; it must be (batch, *sizes, channels) with {many} sizes")
    return n


def per_dimension(name: str, value: int | Sequence[int], n: int, least: int = 1) -> tuple[int, ...]:
    """`value` as a tuple with one integer for each of `n` dimensions, none below `least`."""
    many = tuple(value) if isinstance(value, Sequence) else (value,) * n
    if len(many) != n:
        raise ValueError(
            f"{name} is {value!r}: {len(many)} entries for {n} spatial dimensions; give an int or {n} ints"
        )
    for entry in many:
        if isinstance(entry, bool) or not hasattr(entry, "__index__"):
            raise ValueError(f"{name} is {value!r}; it must be an int or {n} ints")
        if entry < least:
            raise ValueError(f"{name} is {value!r}; it must be at least {least} in every dimension")
    return tuple(int(entry) for entry in many)


def pad_pairs(
    padding: Padding,
    sizes: Sequence[int],
    window: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
) -> tuple[tuple[int, int], ...]:
    """`padding` as one (low, high) pair a dimension.

    "same" is XLA's SAME (⌈size / stride⌉ outputs, the odd pixel of padding goes to the end);
    "full" keeps every position where window and input touch; ints pad both ends.
    """
    n = len(sizes)
    if isinstance(padding, str):
        one_of(padding, get_args(PaddingName), path="padding")
        return tuple(_named_pair(padding, *dims) for dims in zip(sizes, window, stride, dilation, strict=True))
    if not isinstance(padding, Sequence):
        padding = per_dimension("padding", padding, n, least=0)
    if len(padding) != n:
        raise ValueError(
            f"padding is {padding!r}: {len(padding)} entries for {n} spatial dimensions; "
            f"give a name, an int, {n} ints or {n} (low, high) pairs"
        )
    pairs = tuple(tuple(entry) if isinstance(entry, Sequence) else (entry, entry) for entry in padding)
    for pair in pairs:
        if len(pair) != 2 or any(isinstance(e, bool) or not hasattr(e, "__index__") or e < 0 for e in pair):
            raise ValueError(f"padding is {padding!r}; it must hold ints ≥ 0 or (low, high) pairs of them")
    return tuple((int(low), int(high)) for low, high in pairs)


def _named_pair(name: str, size: int, window: int, stride: int, dilation: int) -> tuple[int, int]:
    reach = (window - 1) * dilation
    if name == "valid":
        return 0, 0
    if name == "full":
        return reach, reach
    extra = max((math.ceil(size / stride) - 1) * stride + reach + 1 - size, 0)
    return extra // 2, extra - extra // 2


def causal_padding(window: int | Sequence[int], *, dilation: int | Sequence[int] = 1) -> tuple[tuple[int, int], ...]:
    """Padding with which a series (B, T, C) keeps its length and no output sees the future."""
    window = (window,) if not isinstance(window, Sequence) else tuple(window)
    dilation = per_dimension("dilation", dilation, len(window))
    return tuple(((k - 1) * d, 0) for k, d in zip(window, dilation, strict=True))


def output_size(
    size: int,
    window: int,
    stride: int = 1,
    padding: str | int | tuple[int, int] = 0,
    dilation: int = 1,
    ceil: bool = False,
    strict: bool = False,
) -> int:
    """How many places a window has along one dimension: ⌊(size + padding − reach) / stride⌋ + 1.

    `ceil` keeps a last window that hangs over the end, unless it would start in the padding (the rule of
    PyTorch and ONNX). `strict` refuses a stride that leaves pixels over.
    """
    low, high = pad_pairs(
        padding if isinstance(padding, str) else (padding,), (size,), (window,), (stride,), (dilation,)
    )[0]
    for name, value, least in (
        ("size", size, 1),
        ("window", window, 1),
        ("stride", stride, 1),
        ("dilation", dilation, 1),
    ):
        per_dimension(name, value, 1, least)
    reach = (window - 1) * dilation + 1
    room = size + low + high - reach
    if room < 0:
        raise ValueError(
            f"window does not fit: {window} with dilation {dilation} reaches over {reach}, "
            f"the input of {size} padded by {low} and {high} has {size + low + high}"
        )
    if strict and room % stride:
        raise ValueError(
            f"stride {stride} does not fit: ({size} + {low} + {high} − {reach}) / {stride} + 1 "
            f"= {room / stride + 1:.2f} is no whole number"
        )
    places = (math.ceil(room / stride) if ceil else room // stride) + 1
    if ceil and (places - 1) * stride >= size + low:
        places -= 1
    return places


def transposed_size(
    size: int,
    window: int,
    stride: int = 1,
    padding: int | tuple[int, int] = 0,
    output_padding: int = 0,
    dilation: int = 1,
) -> int:
    """The length that a transposed convolution gives back: (size − 1) · stride − padding + reach + output_padding."""
    low, high = padding if isinstance(padding, tuple) else (padding, padding)
    return (size - 1) * stride - low - high + (window - 1) * dilation + 1 + output_padding
