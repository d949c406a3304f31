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
