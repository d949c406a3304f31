"""Classification that learns from examples without labels too."""

import dataclasses
import functools
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp

from cnnjax.annotations import AtLeastOne, NonNegative, Positive
from cnnjax.fields import Facts
from cnnjax.refusals import refuse_misfits
from cnnjax.tasks.contract import Task, main_output, noise_keys, refuse_without
from cnnjax.tasks.labels import classification

__all__ = ["consistency"]

_PROBE = 0.1  # of epsilon: how far away it is looked where the answer changes most


def consistency(
    facts: Facts,
    *,
    epsilon: Positive = 3.0,
    rounds: AtLeastOne = 1,
    share: NonNegative = 1.0,
    entropy: NonNegative = 1.0,
) -> Task:
    """A class for each example, the same for all that is near it (virtual adversarial training, Miyato 2018).

    Metrics: loss, accuracy. In training each example is seen twice: as it is, and changed by `epsilon` (a Euclidean
    length, in what the net reads) the way that changes the answer most, which is looked for in as many `rounds`. The
    divergence of the second answer from the first counts `share`, the entropy of the first `entropy`; neither asks for
    a label, and where `labelled` is 0 (`data.labelled`) they are all. Else the cross-entropy with the label comes on
    top. No gradient goes through the first answer to the divergence. The loss of evaluation is the cross-entropy.
    """
    refuse_misfits(consistency, {name: value for name, value in locals().items() if name != "facts"}, path="task.")
    refuse_without(facts, "consistency", "label", named=True)
    if facts.input == "tokens":
        raise ValueError(
            "task.name is 'consistency', which changes inputs a little; the nets of these data read tokens"
        )
    plain = classification(facts)
    apart = functools.partial(_apart, facts.input, epsilon, rounds)

    def loss(net, params, batch, key):
        if not net.train:
            return plain.loss(net, params, batch, key)
        net_key, way_key = jax.random.split(key)
        value, weights, (outputs, state) = plain.loss(net, params, batch, net_key)
        answer = jax.nn.log_softmax(main_output(outputs))
        spread = -jnp.sum(jnp.exp(answer) * answer, -1)
        alone = share * apart(net, params, batch, (net_key, way_key), answer) + entropy * spread
        value = jnp.where(_known(batch) > 0, value, 0.0) + jnp.where(batch["valid"] > 0, alone, 0.0)
        return value, weights, (outputs, state)

    def tally(outputs, batch):
        return plain.tally(outputs, {**batch, "valid": batch["valid"] * _known(batch)})

    return dataclasses.replace(plain, loss=loss, tally=tally, unlabelled=True)


def _known(batch: Mapping) -> jax.Array:
    """1 for the examples (B,) of which the label is known."""
    return batch["labelled"] if "labelled" in batch else jnp.ones_like(batch["valid"])


def _apart(word: str, epsilon, rounds: int, net: Callable, params: Mapping, batch: Mapping, keys, answer) -> jax.Array:
    """Divergences (B,) of the answers to changed inputs from those to inputs as they are, log probabilities (B, K)."""
    net_key, way_key = keys
    inputs, told = batch[word].astype(jnp.float32), jax.lax.stop_gradient(answer)

    def divergence(params, change):
        # the same key, so that nothing but the change makes a difference
        outputs, _ = net(params, {**batch, word: inputs + change}, net_key)
        return jnp.sum(jnp.exp(told) * (told - jax.nn.log_softmax(main_output(outputs))), -1)

    draws = jax.vmap(lambda key: jax.random.normal(key, inputs.shape[1:]))(noise_keys(net, way_key, batch))
    fixed = jax.lax.stop_gradient(params)

    def steeper(_, way):
        return _unit(jax.grad(lambda way: jnp.sum(divergence(fixed, _PROBE * epsilon * way)))(way))

    way = jax.lax.stop_gradient(jax.lax.fori_loop(0, rounds, steeper, _unit(draws)))
    return divergence(params, epsilon * way)


def _unit(way: jax.Array) -> jax.Array:
    """Changes (B, …) of length 1 each; 0 where there is no way."""
    length = jnp.sqrt(jnp.sum(way * way, tuple(range(1, way.ndim)), keepdims=True))
    return way / jnp.maximum(length, 1e-12)
