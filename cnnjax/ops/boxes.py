"""Boxes are (…, 4) arrays y0 x0 y1 x1, in pixels."""

import jax
import jax.numpy as jnp

__all__ = ["box_area", "box_iou"]


def box_area(boxes: jax.Array) -> jax.Array:
    """The areas (…,) of boxes (…, 4); a box that is inside out has none."""
    sides = jnp.maximum(boxes[..., 2:] - boxes[..., :2], 0)
    return sides[..., 0] * sides[..., 1]


def box_iou(a: jax.Array, b: jax.Array) -> jax.Array:
    """Intersection over union (…, N, M) of every box of `a` (…, N, 4) with every box of `b` (…, M, 4)."""
    low = jnp.maximum(a[..., :, None, :2], b[..., None, :, :2])
    high = jnp.minimum(a[..., :, None, 2:], b[..., None, :, 2:])
    shared = box_area(jnp.concatenate([low, high], -1))
    union = box_area(a)[..., :, None] + box_area(b)[..., None, :] - shared
    return shared / jnp.where(union > 0, union, 1)
