"""Tasks that make images."""

import functools
import math
from collections.abc import Callable, Mapping
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from cnnjax.annotations import AtLeastOne, NonNegative, Positive, Rate
from cnnjax.fields import Facts, of_kind
from cnnjax.ops import losses
from cnnjax.refusals import refuse_misfits
from cnnjax.tasks.contract import Task, count, main_output, noise_keys, supervised

__all__ = ["gan", "vae"]

Pixels = Literal["drawn", "threshold", "shades"]
_LOG_TWO_PI = math.log(2 * math.pi)


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
        predict=lambda outputs, batch: {"image": (main_output(outputs) + 1) / 2},
        tally=tally,
        summarize=summarize,
        metric="balance",
        parts=("generator", "discriminator"),
        unlabelled=True,
    )


def _each(values: jax.Array) -> jax.Array:
    """Means (B,) of whatever each example has."""
    return jnp.reshape(values, (values.shape[0], -1)).mean(-1)


def _softplus(logits: jax.Array) -> jax.Array:
    """-log(sigmoid(-logits)), one number (B,) per example."""
    return jax.nn.softplus(_each(logits))


def vae(
    facts: Facts,
    *,
    pixels: Pixels = "drawn",
    sigma: Positive = 0.1,
    beta: NonNegative = 1.0,
    importance: tuple[AtLeastOne, ...] = (1, 5, 50),
) -> Task:
    """Pictures drawn anew from a few numbers; metrics, nats a picture: elbo, reconstruction, kl and, evaluated, iwae_K.

    Minimised is the reconstruction's negative log likelihood and `beta` times the divergence from the normal prior
    (Kingma 2014). `pixels` are black or white, "drawn" with their shade as the probability (anew each time in training,
    by the example's index in evaluation) or by a "threshold" of a half, and the net says how likely white is; or they
    are "shades" in [0, 1] about the net's with a deviation of `sigma`. The net reads the pixels so made. The bounds of
    Burda 2016 by so many samples as `importance` names are of all samples that the largest has, in groups. A
    prediction is the picture as it is drawn anew from a sample. The net has the parts `encode`, which gives means and
    log variances (B, 2, N), and `decode`.
    """
    refuse_misfits(vae, {name: value for name, value in locals().items() if name != "facts"}, path="task.")
    if facts.input not in of_kind("picture") or not (facts.black and facts.white):
        left = ", of which the pipeline leaves neither black nor white" if facts.input in of_kind("picture") else ""
        raise ValueError(f"task.name is 'vae', which draws pictures; the nets of these data read {facts.input}{left}")
    read = functools.partial(_read, facts, pixels)
    likely = functools.partial(_likelihood, pixels, sigma)

    def forward(net, params, batch, key):
        bits_key, draw_key, *keys = jax.random.split(key, 4)
        seen, target = read(net, bits_key, batch)
        code, state = net(params, (seen,), keys[0], part="encode")
        mean, spread = code[:, 0], code[:, 1]
        drawn = _normal(net, draw_key, batch, mean.shape[1:])
        z = mean + jnp.exp(spread / 2) * drawn
        main, state = net(params, (z,), keys[1], part="decode", state=state)
        return {"main": main, "mean": mean, "spread": spread, "target": target}, state

    def criterion(outputs, batch):
        value = beta * _divergence(outputs) - likely(outputs["main"], outputs["target"])
        return value, jnp.ones_like(value)

    trained = supervised(criterion, forward)

    def loss(net, params, batch, key):
        value, weights, (outputs, state) = trained(net, params, batch, key)
        if net.train or not importance:
            return value, weights, (outputs, state)
        weighed = _weighed(net, params, batch, jax.random.fold_in(key, 1), outputs, likely, max(importance))
        bounds = {f"iwae_{number}": _bound(weighed, number) for number in importance}
        return value, weights, (outputs | bounds, state)

    return Task(
        outputs=facts.shape[-1],
        forward=forward,
        loss=loss,
        predict=functools.partial(_shown, pixels),
        tally=functools.partial(_bounds, likely),
        summarize=_nats,
        metric="elbo",
        rank=len(facts.shape) + 1,
        unlabelled=True,
    )


def _read(facts: Facts, pixels: Pixels, net: Callable, key: jax.Array, batch: Mapping) -> tuple[jax.Array, jax.Array]:
    """The input (B, *sizes, C) as the net reads it, and the pixels that it is to draw, in [0, 1]."""
    black, white = np.float32(facts.black), np.float32(facts.white)
    image = jnp.clip((batch[facts.input].astype(jnp.float32) - black) / (white - black), 0, 1)
    if pixels == "drawn":
        keys = noise_keys(net, key, batch)
        image = jax.vmap(lambda key, one: jax.random.uniform(key, one.shape) < one)(keys, image).astype(jnp.float32)
    elif pixels == "threshold":
        image = (image >= 0.5).astype(jnp.float32)
    return black + (white - black) * image, image


def _normal(net: Callable, key: jax.Array, batch: Mapping, shape: tuple[int, ...]) -> jax.Array:
    return jax.vmap(lambda key: jax.random.normal(key, shape))(noise_keys(net, key, batch))


def _likelihood(pixels: Pixels, sigma: jax.Array | float, drawn: jax.Array, target: jax.Array) -> jax.Array:
    """Log likelihoods (B,) in nats of pixels (B, *sizes, C) as they were drawn."""
    if pixels == "shades":
        each = -0.5 * (((target - drawn) / sigma) ** 2 + _LOG_TWO_PI) - jnp.log(sigma)
    else:
        each = -losses.sigmoid_cross_entropy(drawn, target)
    return jnp.sum(each, tuple(range(1, each.ndim)))


def _divergence(outputs: Mapping) -> jax.Array:
    """Kullback-Leibler divergences (B,) in nats of normal codes from the prior."""
    mean, spread = outputs["mean"], outputs["spread"]
    return 0.5 * jnp.sum(jnp.exp(spread) + mean**2 - 1 - spread, -1)


def _weighed(net, params, batch, key, outputs: Mapping, likely: Callable, samples: int) -> jax.Array:
    """log p(x, z) / q(z | x) (samples, B) of so many codes, one after another: a picture of each would be large."""
    mean, spread = outputs["mean"], outputs["spread"]

    def one(number):
        drawn = _normal(net, jax.random.fold_in(key, number), batch, mean.shape[1:])
        z = mean + jnp.exp(spread / 2) * drawn
        main, _ = net(params, (z,), key, part="decode")
        apart = 0.5 * jnp.sum(drawn**2 + spread - z**2, -1)  # log prior of z, less its log density: the 2π are the same
        return likely(main, outputs["target"]) + apart

    return jax.lax.map(one, jnp.arange(samples))


def _bound(weighed: jax.Array, number: int) -> jax.Array:
    """The bound (B,) by so many samples, the mean over as many groups as there are of them (Burda 2016)."""
    groups = len(weighed) // number
    each = weighed[: groups * number].reshape(groups, number, -1)
    return jnp.mean(jax.nn.logsumexp(each, axis=1) - math.log(number), 0)


def _shown(pixels: Pixels, outputs: Mapping, batch: Mapping) -> dict[str, jax.Array]:
    image = main_output(outputs)
    return {"image": jnp.clip(image, 0, 1) if pixels == "shades" else jax.nn.sigmoid(image)}


def _bounds(likely: Callable, outputs: Mapping, batch: Mapping) -> dict[str, jax.Array]:
    valid = batch["valid"]
    each = {name: value for name, value in outputs.items() if name.startswith("iwae_")}
    each |= {"reconstruction": likely(outputs["main"], outputs["target"]), "kl": _divergence(outputs)}
    return {name: count(value, valid) for name, value in (each | {"examples": jnp.ones_like(valid)}).items()}


def _nats(sums: Mapping, rows: Mapping) -> dict[str, float]:
    examples = max(float(sums["examples"]), 1.0)
    means = {name: float(value) / examples for name, value in sums.items() if name != "examples"}
    return {"elbo": means["reconstruction"] - means["kl"]} | means
