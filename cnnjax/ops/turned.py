"""Turned boxes are (…, 4, 2) arrays of their corners y x, one after the other; in space they have heights z0 z1 too."""

import jax
import jax.numpy as jnp

__all__ = ["box_corners", "quad_area", "quad_iou", "solid_iou", "solid_volume"]


def box_corners(centre: jax.Array, size: jax.Array, angle: jax.Array) -> jax.Array:
    """Corners (…, 4, 2), the front two first, of boxes by centre y x (…, 2), length and width (…, 2), angle (…,).

    At angle 0 the front looks to the right, along x; it turns towards greater y.
    """
    along = jnp.stack([jnp.sin(angle), jnp.cos(angle)], -1) * size[..., :1] / 2
    across = jnp.stack([jnp.cos(angle), -jnp.sin(angle)], -1) * size[..., 1:] / 2
    corners = [along - across, along + across, across - along, -along - across]
    return centre[..., None, :] + jnp.stack(corners, -2)


def quad_area(corners: jax.Array) -> jax.Array:
    """The areas (…,) of convex quadrilaterals (…, 4, 2)."""
    return jnp.abs(_signed(corners))


def quad_iou(a: jax.Array, b: jax.Array) -> jax.Array:
    """Intersection over union (…, N, M) of every convex quadrilateral of `a` (…, N, 4, 2) with every one of `b`."""
    shared = _shared(a, b)
    union = quad_area(a)[..., :, None] + quad_area(b)[..., None, :] - shared
    return shared / jnp.where(union > 0, union, 1)


def solid_volume(corners: jax.Array, heights: jax.Array) -> jax.Array:
    """The volumes (…,) of upright boxes with corners (…, 4, 2) and heights z0 z1 (…, 2)."""
    return quad_area(corners) * jnp.maximum(heights[..., 1] - heights[..., 0], 0)


def solid_iou(a: jax.Array, a_heights: jax.Array, b: jax.Array, b_heights: jax.Array) -> jax.Array:
    """Intersection over union (…, N, M) in space of upright boxes with corners (…, N, 4, 2) and heights (…, N, 2)."""
    low = jnp.maximum(a_heights[..., :, None, 0], b_heights[..., None, :, 0])
    high = jnp.minimum(a_heights[..., :, None, 1], b_heights[..., None, :, 1])
    shared = _shared(a, b) * jnp.maximum(high - low, 0)
    union = solid_volume(a, a_heights)[..., :, None] + solid_volume(b, b_heights)[..., None, :] - shared
    return shared / jnp.where(union > 0, union, 1)


def _signed(points):
    """Signed areas of closed curves (…, n, 2), from their first point, so that large coordinates lose nothing."""
    y, x = jnp.moveaxis(points - points[..., :1, :], -1, 0)
    return 0.5 * jnp.sum(y * jnp.roll(x, -1, -1) - x * jnp.roll(y, -1, -1), -1)


def _shared(a, b):
    """Areas (…, N, M) that every quadrilateral of `a` shares with every one of `b`.

    Clipping by half-planes (Sutherland 1974) with as many points for every pair: what lies outside goes straight to the
    line, along which moving to and fro encloses nothing.
    """
    a, b = a[..., :, None, :, :], b[..., None, :, :, :]
    origin = b[..., :1, :]
    a, b = jnp.broadcast_arrays(a - origin, b - origin)
    turn = jnp.where(_signed(b) < 0, -1.0, 1.0)[..., None]
    points = a
    for side in range(4):
        start, end = b[..., side, :], b[..., (side + 1) % 4, :]
        edge = end - start
        length = jnp.sqrt(jnp.sum(edge**2, -1, keepdims=True))
        normal = turn * jnp.stack([-edge[..., 1], edge[..., 0]], -1) / jnp.where(length > 0, length, 1)
        points = _clipped(points, start, normal)
    return jnp.where(quad_area(b) > 0, jnp.abs(_signed(points)), 0)


def _clipped(points, start, normal):
    """Twice as many points: those of a closed curve, and where it crosses the line; what is outside lies on it."""
    depth = jnp.sum((points - start[..., None, :]) * normal[..., None, :], -1)
    following, next_depth = jnp.roll(points, -1, -2), jnp.roll(depth, -1, -1)
    kept = points - jnp.minimum(depth, 0)[..., None] * normal[..., None, :]
    crosses = (depth < 0) != (next_depth < 0)
    share = depth / jnp.where(crosses, depth - next_depth, 1)
    crossing = points + share[..., None] * (following - points)
    both = jnp.stack([kept, jnp.where(crosses[..., None], crossing, kept)], -2)
    return both.reshape(*points.shape[:-2], 2 * points.shape[-2], 2)
