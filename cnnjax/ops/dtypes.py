"""Which numbers a function computes with."""

import jax
import jax.numpy as jnp

__all__ = []


def floating(x: jax.Array) -> jax.Array:
    """x (…), as floats where it holds whole numbers: a mean of bytes as a byte is wrong, and nobody would notice."""
    return x if jnp.issubdtype(x.dtype, jnp.inexact) else x.astype(jnp.result_type(float))


def widened(x: jax.Array) -> jax.Array:
    """x (…) in float32 at least, for sums that bfloat16 would lose."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def affine(x: jax.Array, scale: jax.Array | float, bias: jax.Array | float) -> jax.Array:
    """x (…, C) · scale (C,) + bias (C,), rounded once: the gradients of both are then sums in float32 at least.

    Where an accelerator adds in bfloat16 the sum over a large map would else stand still at 256 times what it adds.
    """
    return (widened(x) * scale + bias).astype(x.dtype)


def shifted(x: jax.Array, bias: jax.Array) -> jax.Array:
    """x (…, C) + bias (C,), rounded once, as in `affine`."""
    return (widened(x) + bias).astype(x.dtype)
