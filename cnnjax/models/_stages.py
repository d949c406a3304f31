"""Running the blocks of a stage: one after the other, or the equal ones as one loop."""

import jax
import jax.numpy as jnp

__all__ = ["run"]


def run(blocks, x, train, *, stack):
    """`x` after every block of a stage in turn.

    With `stack`, all blocks but the first (which may change the shape) are one loop over their stacked variables: the
    compiler sees one block. Parameters, their names and the statistics stay where they are; noise is drawn anew.
    """
    if not stack or len(blocks) < 3 or blocks[0].is_initializing():
        for block in blocks:
            x = block(x, train)
        return x
    return _looped(blocks[1:], blocks[0](x, train), train)


def _looped(blocks, x, train):
    template = blocks[0].clone(parent=None, name=None)
    variables = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(block.variables for block in blocks))
    updates = train and blocks[0].is_mutable_collection("batch_stats") and "batch_stats" in variables
    rates = [block.drop_path for block in blocks]
    dropped = train and not all(isinstance(rate, int | float) and rate == 0 for rate in rates)
    noisy = dropped or (train and blocks[0].has_rng("noise"))  # the blocks may have dropout of their own
    loop = {"variables": variables}
    if dropped:
        loop["rate"] = jnp.stack([jnp.asarray(rate, jnp.float32) for rate in rates])
    if noisy:
        loop["key"] = jax.random.split(blocks[0].make_rng("noise"), len(blocks))

    def step(x, part):
        block = template.clone(drop_path=part["rate"]) if dropped else template
        rngs = {"noise": part["key"]} if noisy else {}
        if not updates:
            return block.apply(part["variables"], x, train, rngs=rngs), {}
        return block.apply(part["variables"], x, train, rngs=rngs, mutable=["batch_stats"])

    x, kept = jax.lax.scan(step, x, loop)
    for i, block in enumerate(blocks if updates else ()):
        for name, value in jax.tree.map(lambda leaf, i=i: leaf[i], kept["batch_stats"]).items():
            block.put_variable("batch_stats", name, value)
    return x
