"""Tasks that predict a class for every pixel."""

import functools
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from cnnjax.annotations import NonNegative
from cnnjax.fields import IGNORE, Facts
from cnnjax.ops import losses
from cnnjax.tasks.contract import Task, main_output, supervised

__all__ = ["segmentation"]

_MOST = 64  # classes with a table of their confusions, whose K² numbers an example are kept until the end of a pass


def segmentation(facts: Facts, *, ignore: int = IGNORE, dice: NonNegative = 0.0) -> Task:
    """A class for each pixel of `segments`; metrics: loss, miou (over classes that occur), pixel_accuracy, iou_<class>.

    Pixels of class `ignore` count nowhere. `dice` is the weight of a soft Dice loss beside the cross-entropy.
    Outputs smaller than the labels (nets of valid convolutions) are compared with the labels' centre, and predictions
    are 255 around it. Table: `confusion` (K, K) of pixels, truth and guess, of up to 64 classes.
    """
    if not (names := facts.extra.get("segment_names", ())):
        raise ValueError(
            "task.name is 'segmentation', but the data has no segments (facts.extra['segment_names']); "
            "choose a data.name that has them, or another task.name"
        )
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

    def rows(outputs, batch):
        logits, segments = aligned(outputs, batch)
        pairs = segments.astype(jnp.int32) * classes + jnp.argmax(logits, -1)
        pairs = jnp.where(segments != ignore, pairs, classes**2).reshape(len(segments), -1)  # past the end: dropped
        counted = jax.vmap(lambda each: jnp.zeros(classes**2, jnp.int32).at[each].add(1, mode="drop"))(pairs)
        return {"confusion": counted.reshape(-1, classes, classes)}

    return Task(
        outputs=classes,
        loss=supervised(criterion),
        predict=functools.partial(_predicted, facts.input),
        tally=tally,
        rows=rows if classes <= _MOST else lambda outputs, batch: {},
        summarize=functools.partial(_summary, names),
        metric="miou",
        views="probabilities",
        rank=4,
    )


def _maps(outputs, classes: int) -> jax.Array:
    """The logits (B, h, w, K) that a net gives."""
    logits = main_output(outputs)
    if logits.ndim != 4:
        raise ValueError(
            f"the net's outputs are {logits.shape}, segmentation needs maps (B, h, w, {classes}); "
            "choose another model.name, such as unet"
        )
    return logits


def _predicted(input: str, outputs, batch) -> dict[str, jax.Array]:
    probabilities, size = jax.nn.softmax(main_output(outputs)), batch[input].shape[1:3]
    segments = jnp.argmax(probabilities, -1)[..., None]
    return {"segments": _framed(segments, size, IGNORE)[..., 0], "probabilities": _framed(probabilities, size, 0)}


def _summary(names: tuple[str, ...], sums: Mapping, rows: Mapping) -> dict:
    both, either = jnp.asarray(sums["both"]), jnp.asarray(sums["either"])
    iou = [float(b / e) if e > 0 else float("nan") for b, e in zip(both, either, strict=True)]
    seen = [value for value in iou if value == value]
    metrics = {
        "miou": sum(seen) / max(len(seen), 1),
        "pixel_accuracy": float(jnp.sum(both)) / max(float(sums["pixels"]), 1.0),
    }
    metrics |= {f"iou_{name}": value for name, value in zip(names, iou, strict=True) if value == value}
    return metrics | ({"confusion": np.sum(rows["confusion"], 0, dtype=np.int64)} if rows else {})


def _framed(maps: jax.Array, size: tuple[int, int], fill: int) -> jax.Array:
    """Maps (B, H, W, …) of a picture's size: those of its middle (B, h, w, …) with `fill` around them."""
    spare = [max(want - have, 0) for have, want in zip(maps.shape[1:3], size, strict=True)]
    around = [(n // 2, n - n // 2) for n in spare]
    return jnp.pad(maps, ((0, 0), *around, (0, 0)), constant_values=fill) if any(spare) else maps


def _centre(segments: jax.Array, size: tuple[int, int]) -> jax.Array:
    """The middle (B, h, w) of segments (B, H, W)."""
    if segments.shape[1] < size[0] or segments.shape[2] < size[1]:
        raise ValueError(
            f"the net's output {size} is larger than the segments {segments.shape[1:3]}; choose a smaller one"
        )
    top, left = ((have - want) // 2 for have, want in zip(segments.shape[1:3], size, strict=True))
    return segments[:, top : top + size[0], left : left + size[1]]
