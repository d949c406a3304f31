"""Nonlinearities by name."""

import difflib
import functools

import jax
import jax.numpy as jnp

__all__ = ["ACTIVATIONS", "activation"]


def _scaled_tanh(x):
    """LeCun's 1.7159 tanh(2x/3): ±1 are fixed points, the second derivative is largest there."""
    return 1.7159 * jnp.tanh(2.0 / 3.0 * x)


ACTIVATIONS = {
    "relu": jax.nn.relu,
    "relu6": jax.nn.relu6,
    "leaky_relu": functools.partial(jax.nn.leaky_relu, negative_slope=0.2),
    "elu": jax.nn.elu,
    "gelu": functools.partial(jax.nn.gelu, approximate=False),
    "silu": jax.nn.silu,
    "hard_swish": jax.nn.hard_swish,
    "hard_sigmoid": jax.nn.hard_sigmoid,
    "sigmoid": jax.nn.sigmoid,
    "tanh": jnp.tanh,
    "scaled_tanh": _scaled_tanh,
    "softplus": jax.nn.softplus,
    "none": lambda x: x,
}


def activation(name: str):
    """The elementwise function called `name`."""
    if name not in ACTIVATIONS:
        near = difflib.get_close_matches(name, ACTIVATIONS, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"activation is {name!r}; it must be one of {', '.join(ACTIVATIONS)}{hint}")
    return ACTIVATIONS[name]
