"""An augmentation that spoils some batches: what a broken decoder or a diverging net feeds to a step."""

import jax.numpy as jnp


def spoil(
    key, facts, example, *, epoch: float = -1.0, always: float = 0.0, a: float = -1.0, b: float = -1.0, c: float = -1.0
):
    """The example with a NaN in it where it is one of three in an epoch, or always; all in the same program."""
    hit = (example["epoch"] == epoch) & jnp.isin(example["index"], jnp.stack([a, b, c]))
    image = example["image"]
    return {**example, "image": image.at[0, 0, 0].set(jnp.where(hit | (always > 0), jnp.nan, image[0, 0, 0]))}
