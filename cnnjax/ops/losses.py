"""Losses element by element: per example, per pixel; whoever calls weighs and sums them."""

import jax
import jax.numpy as jnp
import optax

from cnnjax.ops.dtypes import widened

__all__ = [
    "dice_loss",
    "focal_cross_entropy",
    "focal_sigmoid_cross_entropy",
    "huber_loss",
    "sigmoid_cross_entropy",
    "softmax_cross_entropy",
    "squared_error",
    "target_distribution",
]


def target_distribution(labels: jax.Array, classes: int, *, smoothing: jax.Array | float = 0.0) -> jax.Array:
    """Class distributions (…, K) of integer labels (…,) or of distributions (…, K), mixed with the uniform one."""
    if jnp.issubdtype(labels.dtype, jnp.integer):
        labels = jax.nn.one_hot(labels, classes)
    return labels * (1 - smoothing) + smoothing / classes


def softmax_cross_entropy(logits: jax.Array, labels: jax.Array, *, smoothing: jax.Array | float = 0.0) -> jax.Array:
    """Cross-entropies (…,) of logits (…, K) with integer labels (…,) or target distributions (…, K), in float32.

    A label outside 0…K−1 (an ignored pixel) costs its part of the smoothing at most; weigh it with 0.
    """
    logits = widened(logits)
    if labels.shape == logits.shape and not jnp.issubdtype(labels.dtype, jnp.integer):
        return optax.softmax_cross_entropy(logits, target_distribution(labels, logits.shape[-1], smoothing=smoothing))
    if labels.shape != logits.shape[:-1] or not jnp.issubdtype(labels.dtype, jnp.integer):
        raise ValueError(
            f"labels are {labels.dtype} {labels.shape}; for logits {logits.shape} they must be integers "
            f"{logits.shape[:-1]} or distributions {logits.shape}"
        )
    known = (labels >= 0) & (labels < logits.shape[-1])
    chosen = jnp.take_along_axis(logits, jnp.where(known, labels, 0)[..., None], -1)[..., 0]
    normalizer = jax.nn.logsumexp(logits, axis=-1)
    hit = jnp.where(known, normalizer - chosen, 0)
    return hit * (1 - smoothing) + (normalizer - jnp.mean(logits, -1)) * smoothing


def focal_cross_entropy(
    logits: jax.Array, labels: jax.Array, *, gamma: jax.Array | float = 2.0, smoothing: jax.Array | float = 0.0
) -> jax.Array:
    """Cross-entropies (…,) as above in which what has probability p counts (1 − p)^gamma, in float32 (Lin 2017).

    `gamma` 0 is the cross-entropy itself; 2 is usual, and lets examples that are right already count next to nothing.
    """
    likely = jax.nn.log_softmax(widened(logits))
    targets = target_distribution(labels, logits.shape[-1], smoothing=smoothing)
    # a certain class has 1 − p = 0, whose powers below 1 have no slope
    unlikely = jnp.log(-jnp.expm1(jnp.minimum(likely, -1e-7)))
    return -jnp.sum(targets * jnp.exp(gamma * unlikely) * likely, -1)


def sigmoid_cross_entropy(logits: jax.Array, targets: jax.Array) -> jax.Array:
    """Binary cross-entropies, shaped like `logits`, with targets in [0, 1] of the same shape."""
    _same("targets", targets, logits)
    logits = widened(logits)
    return optax.sigmoid_binary_cross_entropy(logits, targets)


def focal_sigmoid_cross_entropy(
    logits: jax.Array,
    targets: jax.Array,
    *,
    gamma: jax.Array | float = 2.0,
    positive: jax.Array | float = 1.0,
    negative: jax.Array | float = 1.0,
) -> jax.Array:
    """Binary cross-entropies, shaped like `logits`, times |target − probability|^gamma, in float32.

    Of targets 0 and 1 it is the focal loss (Lin 2017), of those between the quality focal loss (Li 2020). What is a
    target counts `positive` times, the rest `negative` times; the paper's alpha of 0.25 is 0.25 and 0.75.
    """
    each = sigmoid_cross_entropy(logits, targets)
    # a certain answer has a distance of 0, whose powers below 1 have no slope
    distance = jnp.maximum(jnp.abs(targets - jax.nn.sigmoid(widened(logits))), 1e-7)
    return each * jnp.exp(gamma * jnp.log(distance)) * (positive * targets + negative * (1 - targets))


def huber_loss(predictions: jax.Array, targets: jax.Array, *, delta: jax.Array | float = 1.0) -> jax.Array:
    """Half the squared differences up to `delta`, beyond it straight on; shaped like `predictions` (Huber 1964)."""
    _same("targets", targets, predictions)
    return optax.huber_loss(predictions, targets, delta=delta)


def squared_error(predictions: jax.Array, targets: jax.Array) -> jax.Array:
    """Squared differences, shaped like `predictions`."""
    _same("targets", targets, predictions)
    return optax.squared_error(predictions, targets)


def dice_loss(
    probabilities: jax.Array, targets: jax.Array, *, weights: jax.Array | float = 1.0, smooth: float = 1.0
) -> jax.Array:
    """1 − soft Dice (B, K) for each example and class, from probabilities and one-hot targets (B, …, K).

    `weights` (B, …) is 0 for pixels to ignore; `smooth` keeps an absent class defined.
    """
    _same("targets", targets, probabilities)
    weights = jnp.broadcast_to(jnp.asarray(weights)[..., None] if jnp.ndim(weights) else weights, probabilities.shape)
    places = tuple(range(1, probabilities.ndim - 1))
    shared = jnp.sum(weights * probabilities * targets, places)
    both = jnp.sum(weights * (probabilities + targets), places)
    return 1 - (2 * shared + smooth) / (both + smooth)


def _same(name: str, value: jax.Array, like: jax.Array) -> None:
    if value.shape != like.shape:
        raise ValueError(f"{name} have shape {value.shape}; they must have the shape of the predictions, {like.shape}")
