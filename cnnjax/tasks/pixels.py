"""Tasks that predict a class for every pixel."""

import jax
import jax.numpy as jnp

from cnnjax.ops import losses
from cnnjax.tasks.contract import Task, main_output, supervised

__all__ = ["segmentation"]


def segmentation(facts, *, ignore: int = 255, dice: float = 0.0) -> Task:
    """A class for each pixel of `segments`; metrics: loss, miou (over classes that occur), pixel_accuracy, iou_<class>.

    Pixels of class `ignore` count nowhere. `dice` is the weight of a soft Dice loss beside the cross-entropy.
    Outputs smaller than the labels (nets of valid convolutions) are compared with the labels' centre.
    """
    if not (names := facts.extra.get("segment_names", ())):
        raise ValueError("task.name is 'segmentation', but the data has no segments (facts.extra['segment_names'])")
    classes = len(names)

    def aligned(outputs, batch):
        logits = main_output(outputs)
        return logits, _centre(batch["segments"], logits.shape[1:3])

    def criterion(outputs, batch):
        logits, segments = aligned(outputs, batch)
        known = segments != ignore
        labels = jnp.where(known, segments, 0).astype(jnp.int32)
        each = jnp.where(known, losses.softmax_cross_entropy(logits, labels), 0.0)
        pixels = jnp.sum(known, (1, 2)).astype(jnp.float32)
        overlap = losses.dice_loss(
            jax.nn.softmax(logits), jax.nn.one_hot(labels, classes), weights=known.astype(jnp.float32)
        )
        # the dice term is per example; times its pixels it has the same scale as the sum of cross-entropies
        return jnp.sum(each, (1, 2)) + dice * jnp.mean(overlap, -1) * pixels, pixels

    def tally(outputs, batch):
        logits, segments = aligned(outputs, batch)
        known = (segments != ignore) & (batch["valid"][:, None, None] > 0)
        truth = jax.nn.one_hot(segments, classes) * known[..., None]
        guess = jax.nn.one_hot(jnp.argmax(logits, -1), classes) * known[..., None]
        return {
            "both": jnp.sum(truth * guess, (0, 1, 2)),
            "either": jnp.sum(jnp.maximum(truth, guess), (0, 1, 2)),
            "pixels": jnp.sum(known).astype(jnp.float32),
            "examples": jnp.sum(batch["valid"]).astype(jnp.float32),
        }

    def summarize(sums, rows):
        both, either = jnp.asarray(sums["both"]), jnp.asarray(sums["either"])
        iou = [float(b / e) if e > 0 else float("nan") for b, e in zip(both, either, strict=True)]
        seen = [value for value in iou if value == value]
        metrics = {
            "miou": sum(seen) / max(len(seen), 1),
            "pixel_accuracy": float(jnp.sum(both)) / max(float(sums["pixels"]), 1.0),
        }
        return metrics | {f"iou_{name}": value for name, value in zip(names, iou, strict=True) if value == value}

    def predict(outputs):
        probabilities = jax.nn.softmax(main_output(outputs))
        return {"segments": jnp.argmax(probabilities, -1), "probabilities": probabilities}

    return Task(
        outputs=classes,
        loss=supervised(criterion),
        predict=predict,
        tally=tally,
        summarize=summarize,
        metric="miou",
    )


def _centre(segments: jax.Array, size: tuple[int, int]) -> jax.Array:
    """The middle (B, h, w) of segments (B, H, W)."""
    if segments.shape[1] < size[0] or segments.shape[2] < size[1]:
        raise ValueError(
            f"the net's output {size} is larger than the segments {segments.shape[1:3]}; choose a smaller one"
        )
    top, left = ((have - want) // 2 for have, want in zip(segments.shape[1:3], size, strict=True))
    return segments[:, top : top + size[0], left : left + size[1]]
