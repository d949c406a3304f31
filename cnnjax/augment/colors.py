"""What happens to each pixel alone, or to the colours of an image: images are floats in [0, 1]."""

import jax.numpy as jnp

from cnnjax.augment._fields import recolored

__all__ = ["normalize"]


def normalize(key, facts, example):
    """The input less the training set's mean, divided by its standard deviation, channel by channel.

    No strength: a network wants it always.
    """
    mean, deviation = jnp.asarray(facts.mean, float), jnp.asarray(facts.std, float)
    return recolored(example, lambda x: (x - mean.astype(x.dtype)) / deviation.astype(x.dtype))
