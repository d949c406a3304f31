"""Optimizers by name: optax transformations whose numeric options may be tracers.

Each ends in a multiplication by the learning rate; the step multiplies its updates by the schedule's factor.
Weight decay is decoupled from the gradient only where the paper says so (adamw, lion, lamb, lars); `decay_on` says
which parameters it touches: `all`, or `kernels` (more than one dimension: no biases, no norm layers).
"""

from typing import Annotated, Literal

import jax
import jax.numpy as jnp
import optax
from optax import contrib

from cnnjax.annotations import AtLeastOne, Bounds, NonNegative, Rate
from cnnjax.refusals import refuse_misfits

__all__ = ["adadelta", "adagrad", "adam", "adamw", "lamb", "lars", "lion", "muon", "rmsprop", "schedule_free", "sgd"]

DecayOn = Literal["kernels", "all"]

# Added to a second moment under its root: where a gradient is 0 the root's derivative would be infinite, and that of a
# training by its numbers NaN. Beside eps it is lost in rounding: the bits of an update are the same.
_ROOT = 1e-36


def _mask(decay_on: DecayOn):
    refuse_misfits(_mask, locals(), path="optimizer.")
    return lambda params: jax.tree.map(lambda p: decay_on == "all" or p.ndim > 1, params)


def sgd(
    *,
    lr: NonNegative = 0.1,
    momentum: Rate = 0.9,
    nesterov: bool = False,
    decay: NonNegative = 0.0,
    decay_on: DecayOn = "all",
) -> optax.GradientTransformation:
    """Stochastic gradient descent with momentum; decay is added to the gradient, as in PyTorch."""
    return optax.chain(
        optax.add_decayed_weights(decay, _mask(decay_on)),
        optax.trace(momentum, nesterov),
        optax.scale_by_learning_rate(lr),
    )


def adam(
    *,
    lr: NonNegative = 1e-3,
    b1: Rate = 0.9,
    b2: Rate = 0.999,
    eps: NonNegative = 1e-8,
    decay: NonNegative = 0.0,
    decay_on: DecayOn = "all",
) -> optax.GradientTransformation:
    """Adam (Kingma 2015); decay is added to the gradient."""
    return optax.chain(
        optax.add_decayed_weights(decay, _mask(decay_on)),
        optax.scale_by_adam(b1, b2, eps, _ROOT),
        optax.scale_by_learning_rate(lr),
    )


def adamw(
    *,
    lr: NonNegative = 1e-3,
    b1: Rate = 0.9,
    b2: Rate = 0.999,
    eps: NonNegative = 1e-8,
    decay: NonNegative = 0.05,
    decay_on: DecayOn = "kernels",
) -> optax.GradientTransformation:
    """Adam with decoupled weight decay (Loshchilov 2019)."""
    return optax.adamw(lr, b1, b2, eps, _ROOT, weight_decay=decay, mask=_mask(decay_on))


def lamb(
    *,
    lr: NonNegative = 5e-3,
    b1: Rate = 0.9,
    b2: Rate = 0.999,
    eps: NonNegative = 1e-6,
    decay: NonNegative = 0.02,
    decay_on: DecayOn = "kernels",
) -> optax.GradientTransformation:
    """Layer-wise adaptive Adam for large batches (You 2020).

    Decay stands inside the trust ratio, as in timm; unlike there the ratio holds for all parameters, biases and norm
    layers too, and gradients are not cut at norm 1 (`optimizer.clip` does that).
    """
    return optax.lamb(lr, b1, b2, eps, _ROOT, weight_decay=decay, mask=_mask(decay_on))


def lars(
    *,
    lr: NonNegative = 1.0,
    momentum: Rate = 0.9,
    decay: NonNegative = 1e-4,
    trust: NonNegative = 1e-3,
    decay_on: DecayOn = "kernels",
) -> optax.GradientTransformation:
    """Layer-wise adaptive SGD for large batches (You 2017); biases and norm layers get plain SGD.

    The trust ratio is trust · ‖w‖ / ‖g + decay · w‖: the decay stands inside the norm, where timm adds the norms up.
    """
    mask = _mask(decay_on)
    return optax.lars(lr, decay, mask, trust, trust_ratio_mask=mask, momentum=momentum)


def lion(
    *, lr: NonNegative = 1e-4, b1: Rate = 0.9, b2: Rate = 0.99, decay: NonNegative = 0.1, decay_on: DecayOn = "kernels"
) -> optax.GradientTransformation:
    """The sign of a momentum (Chen 2023); wants a smaller lr and a larger decay than adamw."""
    return optax.lion(lr, b1, b2, weight_decay=decay, mask=_mask(decay_on))


def rmsprop(
    *,
    lr: NonNegative = 1e-2,
    b2: Rate = 0.9,
    momentum: Rate = 0.9,
    eps: NonNegative = 1e-3,
    decay: NonNegative = 0.0,
    decay_on: DecayOn = "kernels",
) -> optax.GradientTransformation:
    """RMSProp with momentum as MobileNet and EfficientNet use it (eps inside the root)."""
    return optax.chain(
        optax.add_decayed_weights(decay, _mask(decay_on)),
        optax.scale_by_rms(b2, eps, initial_scale=1.0),
        optax.scale_by_learning_rate(lr),
        optax.trace(momentum),
    )


def adagrad(
    *, lr: NonNegative = 1e-2, start: NonNegative = 0.1, eps: NonNegative = 1e-7
) -> optax.GradientTransformation:
    """AdaGrad (Duchi 2011)."""
    return optax.adagrad(lr, start, eps)


def muon(
    *,
    lr: NonNegative = 0.02,
    momentum: Rate = 0.95,
    iterations: AtLeastOne = 5,
    decay: NonNegative = 0.0,
    constant: bool = False,
    shape_scale: bool = True,
    rest_lr: NonNegative = 2e-3,
) -> optax.GradientTransformation:
    """Momentum made orthogonal by `iterations` of Newton and Schulz (Jordan 2024); what is no kernel goes by Adam.

    A kernel (…, O) is a matrix of O rows, with all the rest as columns, whose update is times √max(1, rows / columns)
    with `shape_scale`, as published (PyTorch's `match_rms_adamw`, Moonlight's Muon, is another scale). The momentum is
    a moving average that looks one gradient ahead (Nesterov). With `constant` each update also brings a kernel to a
    norm of √O; that part too is slowed by the schedule. Biases and scales learn at `rest_lr`.
    """
    kernels = optax.chain(
        _still_at_nothing(
            contrib.scale_by_muon(
                ns_steps=iterations, beta=momentum, nesterov=True, weight_dimension_numbers=_matrices
            ),
            momentum,
        ),
        _shape_scaled() if shape_scale else optax.identity(),
        optax.add_decayed_weights(decay),
        optax.scale_by_learning_rate(lr),
        _constant_norm() if constant else optax.identity(),
    )
    return optax.partition(
        {"kernels": kernels, "rest": adam(lr=rest_lr)},
        lambda params: jax.tree.map(lambda p: "kernels" if p.ndim > 1 else "rest", params),
    )


def _still_at_nothing(inner: optax.GradientTransformation, momentum: jax.Array | float) -> optax.GradientTransformation:
    """The same, where a kernel without gradient and momentum stays, with a derivative of 0: its norm has none there."""

    def update(updates, state, params=None):
        nothing = jax.tree.map(lambda g, m: ~jnp.any((g != 0) | (m != 0)), updates, state.mu)
        moved = jax.tree.map(lambda none, g: jnp.where(none, jnp.ones_like(g), g), nothing, updates)
        found, after = inner.update(moved, state, params)
        found = jax.tree.map(lambda none, change: jnp.where(none, jnp.zeros_like(change), change), nothing, found)
        mean = jax.tree.map(lambda m, g: (momentum * m + (1 - momentum) * g).astype(m.dtype), state.mu, updates)
        return found, after._replace(mu=jax.tree.map(jnp.where, nothing, mean, after.mu))

    return optax.GradientTransformation(inner.init, update)


def _matrices(updates):
    """Which axes of each kernel are reduced and which are outputs."""
    return jax.tree.map(lambda leaf: contrib.MuonDimensionNumbers(tuple(range(leaf.ndim - 1)), leaf.ndim - 1), updates)


def _shape_scaled() -> optax.GradientTransformation:
    """Updates of kernels (…, O) times √max(1, O / the rest)."""

    def scaled(update):
        rows = update.shape[-1]
        return update * max(1.0, rows * rows / update.size) ** 0.5

    return optax.stateless(lambda updates, params: jax.tree.map(scaled, updates))


def _constant_norm() -> optax.GradientTransformation:
    """Adds to the updates what brings each kernel (…, O) to a norm of √O."""

    def update(updates, state, params=None):
        def add(change, value):
            norm = jnp.linalg.norm(value)
            return change + value * (jnp.sqrt(value.shape[-1]) / jnp.where(norm == 0, 1, norm) - 1).astype(value.dtype)

        return jax.tree.map(add, updates, params), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def adadelta(
    *,
    lr: NonNegative = 1.0,
    rho: Rate = 0.95,
    eps: NonNegative = 1e-6,
    decay: NonNegative = 0.0,
    decay_on: DecayOn = "all",
) -> optax.GradientTransformation:
    """AdaDelta (Zeiler 2012), which needs no rate: `lr` is 1 as published; decay is added to the gradient.

    Kim's `rho` is 0.95 as here, PyTorch's and optax's 0.9; `eps` stands inside both roots.
    """
    return optax.chain(
        optax.add_decayed_weights(decay, _mask(decay_on)),
        optax.scale_by_adadelta(rho, eps),
        optax.scale_by_learning_rate(lr),
    )


def schedule_free(
    *,
    lr: NonNegative = 2.5e-3,
    b1: Annotated[float, Bounds(0, 1, above=True)] = 0.9,
    b2: Rate = 0.999,
    eps: NonNegative = 1e-8,
    decay: NonNegative = 0.0,
    decay_on: DecayOn = "kernels",
) -> optax.GradientTransformation:
    """Adam whose momentum is an average of all steps, for any length of training (Defazio 2024).

    Wants the schedule `constant` without warm-up: a factor would slow the parameters and not what is averaged. What is
    kept and measured is where gradients are taken, b1 of the average and 1 − b1 of the newest point; the paper measures
    the average.
    """
    adam = optax.chain(
        optax.scale_by_rms(b2, eps, eps_in_sqrt=False, bias_correction=True),
        optax.add_decayed_weights(decay, _mask(decay_on)),
        optax.scale_by_learning_rate(lr),
    )
    return contrib.schedule_free(adam, lr, b1)
