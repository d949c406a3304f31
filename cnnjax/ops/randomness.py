"""Noise that is a function of a key and of an example's place in the global batch."""

import jax
import jax.numpy as jnp

from cnnjax.ops import axes

__all__ = ["drop_path", "dropout", "example_keys"]


def example_keys(key: jax.Array, n: int) -> jax.Array:
    """(n,) keys, one for each example of this device, the same however the batch is cut over devices.

    A `key` that holds n keys already is returned as it is.
    """
    if not hasattr(key, "dtype"):
        raise ValueError(f"key is {key!r}; it must be a key, as jax.random.key(0) is")
    if not jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        key = jax.random.wrap_key_data(key)
    if key.shape == (n,):
        return key
    if key.shape:
        raise ValueError(f"key has shape {key.shape}; it must be one key or one for each of {n} examples")
    return jax.vmap(lambda i: jax.random.fold_in(key, i))(axes.first(n) + jnp.arange(n))


def _keep(key: jax.Array, x: jax.Array, rate: jax.Array | float, shape: tuple[int, ...]) -> jax.Array:
    if isinstance(rate, (int, float)) and not 0 <= rate <= 1:
        raise ValueError(f"rate is {rate}; it must be a probability, from 0 to 1")
    keys = example_keys(key, x.shape[0])
    draws = jax.vmap(lambda k: jax.random.uniform(k, shape))(keys)
    kept = jnp.reshape(draws >= rate, (x.shape[0], *shape, *(1,) * (x.ndim - 1 - len(shape))))
    rate = jnp.asarray(rate, jnp.float32)
    scale = jnp.where(rate < 1, 1 / jnp.where(rate < 1, 1 - rate, 1), 0).astype(x.dtype)
    return jnp.where(kept, x * scale, jnp.zeros((), x.dtype))


def dropout(key: jax.Array, x: jax.Array, rate: jax.Array | float) -> jax.Array:
    """`x` (B, …) with each element zeroed with probability `rate` (may be traced), the rest divided by 1 − rate."""
    return _keep(key, x, rate, x.shape[1:])


def drop_path(key: jax.Array, x: jax.Array, rate: jax.Array | float) -> jax.Array:
    """`x` (B, …) with whole examples zeroed with probability `rate`, the rest divided by 1 − rate: stochastic depth."""
    return _keep(key, x, rate, ())
