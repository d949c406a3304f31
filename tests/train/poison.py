"""An augmentation that spoils some batches: what a broken decoder or a diverging net feeds to a step."""

import jax.numpy as jnp


def spoil(key, facts, example, *, epoch: int = 0, last: int = 0, examples: tuple[int, ...] = ()):
    """The example with a NaN in it, in the given epochs, where it is one of `examples` (any, if none is given)."""
    hit = jnp.isin(example["index"], jnp.array(examples)) if examples else True
    hit &= (example["epoch"] >= epoch) & (example["epoch"] <= last)
    image = example["image"]
    return {**example, "image": image.at[0, 0, 0].set(jnp.where(hit, jnp.nan, image[0, 0, 0]))}
