"""Tasks that make images."""

import jax
import jax.numpy as jnp

from cnnjax.annotations import AtLeastOne, Rate
from cnnjax.ops.randomness import example_keys
from cnnjax.tasks.contract import Task, count

__all__ = ["gan"]


def gan(facts, *, latent: AtLeastOne = 64, smoothing: Rate = 0.1) -> Task:
    """Two networks in one: images from noise (B, latent), and a critic of them, each with its own part of one loss.

    The non-saturating loss of Goodfellow 2014; real images count as 1 − `smoothing` for the critic. Two stop-gradients
    give each half its own gradient in one backward pass. The net takes `part="generator"` and `part="discriminator"`,
    and images in [−1, 1]: the pipeline must leave them in [0, 1], where predictions are too.
    """

    def draw(key, n):
        return jax.vmap(lambda k: jax.random.normal(k, (latent,)))(example_keys(key, n))

    def loss(net, params, batch, key, hparams):
        real = 2 * batch[facts.input] - 1
        noise_key, *keys = jax.random.split(key, 5)
        noise = draw(noise_key, real.shape[0])
        fake, state = net(params, {facts.input: noise}, keys[0], train=True, part="generator")
        fixed = jax.lax.stop_gradient(params["discriminator"])
        on_real, state = net(params, {facts.input: real}, keys[1], train=True, part="discriminator", state=state)
        on_fake, state = net(
            params, {facts.input: jax.lax.stop_gradient(fake)}, keys[2], train=True, part="discriminator", state=state
        )
        judged, _ = net(
            {**params, "discriminator": fixed}, {facts.input: fake}, keys[3], train=True, part="discriminator"
        )
        critic = (1 - smoothing) * _softplus(-on_real) + smoothing * _softplus(on_real) + _softplus(on_fake)
        losses = critic + _softplus(-judged)
        valid = batch["valid"].astype(jnp.float32)
        outputs = {"main": fake, "real": on_real, "fake": on_fake}
        return jnp.where(valid > 0, losses, 0.0), valid, (outputs, state)

    def tally(outputs, batch):
        valid = batch["valid"]
        return {
            "real": count(jax.nn.sigmoid(outputs["real"]), valid),
            "fake": count(jax.nn.sigmoid(outputs["fake"]), valid),
            "examples": count(jnp.ones_like(outputs["real"]), valid),
        }

    def summarize(sums, rows):
        examples = max(float(sums["examples"]), 1.0)
        real, fake = float(sums["real"]) / examples, float(sums["fake"]) / examples
        return {"real_score": real, "fake_score": fake, "balance": 1 - abs(real - fake)}

    return Task(
        outputs=facts.shape[-1],
        loss=loss,
        predict=lambda outputs: {"image": (outputs["main"] + 1) / 2},
        tally=tally,
        summarize=summarize,
        metric="balance",
        parts=("generator", "discriminator"),
    )


def _softplus(logits: jax.Array) -> jax.Array:
    """-log(sigmoid(-logits)), one number per example."""
    return jax.nn.softplus(jnp.reshape(logits, (logits.shape[0], -1)).mean(-1))
