"""Reading an image between its pixels, and cutting windows of whole pixels.

`ops.warp` reads any array at any coordinates; here one image's lines are folded at the border first and bytes
are gathered as bytes, which reads a 224² image in half the time.
"""

import jax
import jax.numpy as jnp


def floating(x):
    """Bytes as floats in [0, 1]; anything else as it is."""
    return x.astype(jnp.result_type(float)) / 255 if x.dtype == jnp.uint8 else x


BLANK = ("constant", "mean")  # borders beyond which there is nothing but the fill; "" is edge
_PROMISED = {"mode": "promise_in_bounds", "wrap_negative_indices": False}  # indices are folded before


def read(image, places, border="edge", method="bilinear", fill=0.0):
    """`image` (H, W, C) read at `places` (…, 2): floats (…, C); bytes are read as [0, 1]. "nearest" keeps the type."""
    image = jnp.asarray(image)
    if method == "nearest":
        return _nearest(image, places, border, fill)
    padded, rows, columns, seen = _taps(image, places[..., 0], places[..., 1], border, method)
    out = 0
    for row, weight in rows:
        line = 0
        for column, share in columns:
            line += padded.at[row, column].get(**_PROMISED).astype(share.dtype) * share[..., None]
        out += line * weight[..., None]
    return _filled(out, image, seen, fill)


def read_lines(image, ys, xs, border="edge", method="bilinear", fill=0.0):
    """`image` (H, W, C) read where the lines `ys` (h,) and `xs` (w,) cross: floats (h, w, C); bytes as [0, 1].

    As `read` does, but one dimension after the other, which reads a picture in a third of the time.
    """
    image = jnp.asarray(image)
    padded, rows, columns, seen = _taps(image, ys[:, None], xs, border, method)
    # else where a row lies would be worked out anew for each of its pixels
    rows, columns = jax.lax.optimization_barrier((rows, columns))
    flat = padded.reshape(padded.shape[0], -1)  # a row is one long loop, its pixels' channels side by side
    out = sum(flat.at[row[:, 0]].get(**_PROMISED).astype(weight.dtype) * weight for row, weight in rows)
    out = jax.lax.optimization_barrier(out)  # else every row would be read anew for every column
    out = out.reshape(len(ys), -1, image.shape[2])
    each = jnp.arange(len(ys))[:, None]  # named, so that the rows stay the outer dimension
    out = sum(out.at[each, column].get(**_PROMISED) * share[:, None] for column, share in columns)
    return _filled(out, image, seen, fill)


def _taps(image, ys, xs, border, method):
    """What is read of `image` as it is padded: (index, weight) along each dimension, and how much of it was there."""
    margin = 0 if border not in BLANK else 1 if method == "bilinear" else 4
    lines = _bilinear if method == "bilinear" else _cubic
    rows, tall = lines(ys, image.shape[0], border, margin)
    columns, wide = lines(xs, image.shape[1], border, margin)
    dtype = jnp.result_type(float) if image.dtype == jnp.uint8 else image.dtype
    rows, columns = ([(index, weight.astype(dtype)) for index, weight in taps] for taps in (rows, columns))
    padded = jnp.pad(image, ((margin, margin), (margin, margin), (0, 0))) if margin else image
    return padded, rows, columns, tall * wide if margin else None


def _filled(out, image, seen, fill):
    """Bytes as [0, 1], and `fill` where not all of the image was `seen`."""
    out = out / 255 if image.dtype == jnp.uint8 else out
    if seen is not None:
        out += jnp.asarray(fill, out.dtype) * (1 - seen)[..., None].astype(out.dtype)
    return out


def _fold(position, length, border):
    """Positions brought back into the image: to its edge, or mirrored at the centre of its last pixel."""
    if border == "reflect" and length > 1:
        period = 2 * (length - 1)
        position = (length - 1) - jnp.abs(position - period * jnp.floor(position / period) - (length - 1))
    return jnp.clip(position, 0, length - 1)


def _bilinear(position, length, border, margin):
    """Two (index, weight) and the share of the weight that lies inside the image."""
    if margin:
        position = jnp.clip(position, -1, length)
        low = jnp.clip(jnp.floor(position), -1, length - 1)
        inside = jnp.clip(jnp.minimum(position + 1, length - position), 0, 1)
    else:
        position = _fold(position, length, border)
        low = jnp.clip(jnp.floor(position), 0, max(length - 2, 0))
        inside = 1.0
    part = position - low
    first = low.astype(jnp.int32) + margin
    return [(first, 1 - part), (first + (1 if margin or length > 1 else 0), part)], inside


def _cubic(position, length, border, margin):
    """Four (index, weight) of Keys' kernel (a = -1/2) and the share of the weight inside the image."""
    position = jnp.clip(position, -2, length + 1) if margin else _fold(position, length, border)
    low = jnp.floor(position)
    t = position - low
    weights = (
        ((-0.5 * t + 1) * t - 0.5) * t,
        (1.5 * t - 2.5) * t * t + 1,
        ((-1.5 * t + 2) * t + 0.5) * t,
        (0.5 * t - 0.5) * t * t,
    )
    taps, inside = [], 0.0 if margin else 1.0
    for step, weight in zip((-1, 0, 1, 2), weights, strict=True):
        index = low + step
        if margin:
            inside += weight * ((index >= 0) & (index < length))
        taps.append(((index + margin if margin else _fold(index, length, border)).astype(jnp.int32), weight))
    return taps, inside


def _nearest(image, places, border, fill):
    nearest = jnp.floor(places + 0.5)
    index, inside = [], True
    for axis, length in enumerate(image.shape[:2]):
        inside &= (nearest[..., axis] >= 0) & (nearest[..., axis] < length)
        index.append(_fold(nearest[..., axis], length, border).astype(jnp.int32))
    values = image.at[tuple(index)].get(mode="promise_in_bounds")
    return jnp.where(inside[..., None], values, fill) if border in BLANK else values


def whole_slice(image, move):
    """`image` (H, W, …) moved by whole pixels: a slice of the padded image, mirrored where the matrix says so."""
    offset = jnp.round(move.matrix[:2, 2]).astype(jnp.int32)
    mirrored = jnp.stack([move.matrix[0, 0] < 0, move.matrix[1, 1] < 0])
    start = jnp.where(mirrored, offset - jnp.array(move.size) + 1, offset)
    out = _window(image, start, move)
    out = jnp.where(mirrored[0], out[::-1], out)
    return jnp.where(mirrored[1], out[:, ::-1], out)


def _window(image, start, move):
    """(*move.size, …) from `start` on, of the image continued beyond its borders by `move.reach` pixels."""
    rest, blank = (0,) * (image.ndim - 2), move.border in BLANK
    widths = [(move.reach, move.reach)] * 2 + [(0, 0)] * (image.ndim - 2)
    padded = jnp.pad(image, widths, mode="constant" if blank else move.border or "edge") if move.reach else image
    at = start + move.reach
    out = jax.lax.dynamic_slice(padded, (at[0], at[1], *rest), (*move.size, *image.shape[2:]))
    if not (blank and move.reach):
        return out
    inside = [
        (start[axis] + jnp.arange(move.size[axis]) >= 0) & (start[axis] + jnp.arange(move.size[axis]) < length)
        for axis, length in enumerate(image.shape[:2])
    ]
    inside = (inside[0][:, None] & inside[1][None, :]).reshape(*move.size, *(1 for _ in rest))
    out = floating(out) if image.ndim == 3 else out
    return jnp.where(inside, out, jnp.asarray(move.fill, out.dtype))
