"""First weights by name: how a kernel or a bias starts."""

from collections.abc import Callable
from typing import Literal

import jax.numpy as jnp
from jax.nn import initializers as jin

from cnnjax.refusals import one_of

__all__ = ["Initializer", "initializer"]


def _dirac(key, shape, dtype=jnp.float32):
    """Kernel (*window, I, O) that passes its first inputs through: output o copies input o, others start as "torch"."""
    kernel = _BY_NAME["torch"](key, shape, dtype)
    copied = min(shape[-2:])
    centre = tuple(size // 2 for size in shape[:-2])
    kernel = kernel.at[..., :copied].set(0.0)
    index = jnp.arange(copied)
    return kernel.at[(*centre, index, index)].set(1.0)


def _unit_torch(key, shape, dtype=jnp.float32):
    """ "torch" divided by its own standard deviation."""
    kernel = _BY_NAME["torch"](key, shape, dtype)
    return kernel / jnp.std(kernel)


_BY_NAME = {
    "he_normal": jin.variance_scaling(2.0, "fan_in", "truncated_normal"),
    "he_uniform": jin.variance_scaling(2.0, "fan_in", "uniform"),
    "he_fan_out": jin.variance_scaling(2.0, "fan_out", "normal"),
    "lecun_normal": jin.variance_scaling(1.0, "fan_in", "truncated_normal"),
    "lecun_uniform": jin.variance_scaling(1.0, "fan_in", "uniform"),
    "glorot_normal": jin.variance_scaling(1.0, "fan_avg", "truncated_normal"),
    "glorot_uniform": jin.variance_scaling(1.0, "fan_avg", "uniform"),
    "torch": jin.variance_scaling(1.0 / 3.0, "fan_in", "uniform"),
    "fan_out_uniform": jin.variance_scaling(1.0 / 3.0, "fan_out", "uniform"),
    "normal_0001": jin.normal(0.001),
    "normal_001": jin.normal(0.01),
    "normal_002": jin.normal(0.02),
    "normal_01": jin.normal(0.1),
    "truncated_002": jin.truncated_normal(0.02),
    "truncated_01": jin.truncated_normal(0.1),
    "orthogonal": jin.orthogonal(),
    "dirac": _dirac,
    "unit_torch": _unit_torch,
    "zeros": jin.zeros,
    "ones": jin.ones,
}


Initializer = Literal[*_BY_NAME]


def initializer(name: Initializer) -> Callable:
    """The function `(key, shape, dtype) -> array` called `name`; fan-in counts the window and the inputs of one group.

    "torch" is PyTorch's default, uniform in ±1/√fan-in; "dirac" starts a convolution as the identity; "unit_torch" has
    deviation 1.
    """
    return _BY_NAME[one_of(name, _BY_NAME, path="init")]
