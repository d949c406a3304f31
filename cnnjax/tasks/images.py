"""Tasks that make images."""

import jax
import jax.numpy as jnp
import numpy as np

from cnnjax.annotations import AtLeastOne, Rate
from cnnjax.fields import Facts
from cnnjax.tasks.contract import Task, count, noise_keys

__all__ = ["gan"]


def gan(facts: Facts, *, latent: AtLeastOne = 64, smoothing: Rate = 0.1) -> Task:
    """Two networks in one: images from noise (B, latent), and a critic of them, each with its own part of one loss.

    The non-saturating loss of Goodfellow 2014; real images count as 1 − `smoothing` for the critic. Two stop-gradients
    give each half its own gradient in one backward pass. The net has the parts `generator` and `discriminator`, for
    images in [−1, 1]. A prediction is one image in [0, 1] for each example, drawn by its index.
    """
    black, white = np.float32(facts.black), np.float32(facts.white)

    def draw(net, key, batch):
        return jax.vmap(lambda k: jax.random.normal(k, (latent,)))(noise_keys(net, key, batch))

    def forward(net, params, batch, key):
        noise_key, net_key = jax.random.split(key)
        return net(params, (draw(net, noise_key, batch),), net_key, part="generator")

    def loss(net, params, batch, key):
        real = 2 * ((batch[facts.input] - black) / (white - black)) - 1
        noise_key, *keys = jax.random.split(key, 5)
        fake, state = net(params, (draw(net, noise_key, batch),), keys[0], part="generator")
        fixed = jax.lax.stop_gradient(params["discriminator"])
        on_real, state = net(params, (real,), keys[1], part="discriminator", state=state)
        on_fake, state = net(params, (jax.lax.stop_gradient(fake),), keys[2], part="discriminator", state=state)
        judged, _ = net({**params, "discriminator": fixed}, (fake,), keys[3], part="discriminator")
        critic = (1 - smoothing) * _softplus(-on_real) + smoothing * _softplus(on_real) + _softplus(on_fake)
        losses = critic + _softplus(-judged)
        valid = batch["valid"].astype(jnp.float32)
        outputs = {"main": fake, "real": on_real, "fake": on_fake}
        return jnp.where(valid > 0, losses, 0.0), valid, (outputs, state)

    def tally(outputs, batch):
        valid = batch["valid"]
        scores = {name: count(_each(jax.nn.sigmoid(outputs[name])), valid) for name in ("real", "fake")}
        return {**scores, "examples": count(jnp.ones_like(valid), valid)}

    def summarize(sums, rows):
        examples = max(float(sums["examples"]), 1.0)
        real, fake = float(sums["real"]) / examples, float(sums["fake"]) / examples
        return {"real_score": real, "fake_score": fake, "balance": 1 - abs(real - fake)}

    return Task(
        outputs=facts.shape[-1],
        loss=loss,
        forward=forward,
        predict=lambda outputs, batch: {"image": (outputs + 1) / 2},
        tally=tally,
        summarize=summarize,
        metric="balance",
        parts=("generator", "discriminator"),
    )


def _each(values: jax.Array) -> jax.Array:
    """Means (B,) of whatever each example has."""
    return jnp.reshape(values, (values.shape[0], -1)).mean(-1)


def _softplus(logits: jax.Array) -> jax.Array:
    """-log(sigmoid(-logits)), one number (B,) per example."""
    return jax.nn.softplus(_each(logits))
