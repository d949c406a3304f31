"""Tasks that predict a class for every pixel."""

import functools
import math
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from cnnjax.annotations import Count, NonNegative, Positive, Static
from cnnjax.fields import IGNORE, Facts
from cnnjax.ops import components, entropies, eroded, losses, nearest_two, rand_sums
from cnnjax.tasks._parts import parts_score, shared_parts
from cnnjax.tasks.contract import Task, main_output, refuse_without, supervised

__all__ = ["segmentation"]

_MOST = 64  # classes with a table of their confusions, whose K² numbers an example are kept until the end of a pass
_REACH = 3.5  # deviations of the border's weight beyond which it is nothing
_CUTS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
_BAND = 0.02  # of a picture's diagonal: the width of the band along a border of which boundary_iou is


def segmentation(
    facts: Facts,
    *,
    ignore: int = IGNORE,
    dice: NonNegative = 0.0,
    border: Static[NonNegative] = 0.0,
    border_sigma: Static[Positive] = 5.0,
    cells: Count = 0,
) -> Task:
    """A class for each pixel of `segments`; metrics: loss, miou (over classes that occur), pixel_accuracy, iou_<class>.

    Beside them dice (the mean over classes, of all pixels together), and in evaluation miou_image (the mean over
    images), boundary_iou (of the band of 2 % of the diagonal along a class's border, Cheng 2021).
    Pixels of class `ignore` count nowhere. `dice` is the weight of a soft Dice loss beside the cross-entropy. `border`
    is what a pixel between two things of `instances` counts more, falling off with the distance to both over
    `border_sigma` pixels (Ronneberger 2015: 10 and 5). `cells` is a class whose connected parts are compared with the
    truth's: rand_error, the mean over images of scikit-image's adapted Rand error, and with `instances` dsb, DSB 2018's
    score of its parts, the largest of them, as many as there are rows of `boxes`. Beside rand_error is info_error, one
    minus V_info of Arganda-Carreras 2015, and of both the `_best` of nine probabilities from which on a pixel is a
    cell's: what ISBI's challenge of 2012 ranked by, but that no border is thinned before.
    Outputs smaller than the labels (nets of valid convolutions) are compared with the labels' centre, and predictions
    are 255 around it. Table: `confusion` (K, K) of pixels, truth and guess, of up to 64 classes.
    """
    names = facts.extra.get("segment_names", ())
    _refuse(facts, names, border, cells)
    seen = functools.partial(_seen, ignore)
    return Task(
        outputs=len(names),
        loss=supervised(functools.partial(_criterion, seen, dice, border, border_sigma)),
        predict=functools.partial(_predicted, facts.input),
        tally=functools.partial(_tally, seen),
        rows=functools.partial(_rows, seen, cells),
        summarize=functools.partial(_summary, names),
        metric="miou",
        views="probabilities",
        rank=4,
    )


def _refuse(facts: Facts, names: tuple[str, ...], border: float, cells: int) -> None:
    """Refuses options that the data has nothing for."""
    if not names:
        refuse_without(facts, "segmentation", "segments")
        raise ValueError("task.name is 'segmentation', but nobody names the segments: give facts.extra segment_names")
    if border and "instances" not in facts.fields:
        raise ValueError(
            f"task.border is {border:g}, but the data has no instances to find borders between; set it to 0"
        )
    if cells >= len(names):
        raise ValueError(
            f"task.cells is {cells}; the classes of segments go from 0 to {len(names) - 1}: {', '.join(names)}"
        )


def _seen(ignore: int, outputs, batch) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Logits (B, h, w, K), the segments (B, h, w) where they lie, and where those count."""
    logits = main_output(outputs)
    segments = _centre(batch["segments"], logits.shape[1:3])
    return logits, segments, segments != ignore


def _criterion(seen: Callable, dice, border: float, sigma: float, outputs, batch) -> tuple[jax.Array, jax.Array]:
    logits, segments, known = seen(outputs, batch)
    labels = jnp.where(known, segments, 0).astype(jnp.int32)
    each = jnp.where(known, losses.softmax_cross_entropy(logits, labels), 0.0)
    if border:
        things = _centre(batch["instances"], logits.shape[1:3])
        near, next_ = nearest_two(jnp.where(things == IGNORE, 0, things), math.ceil(_REACH * sigma))
        each *= 1 + border * jnp.exp(-((near + next_) ** 2) / (2 * sigma**2))
    pixels = jnp.sum(known, (1, 2)).astype(jnp.float32)
    truth = jax.nn.one_hot(labels, logits.shape[-1])
    overlap = losses.dice_loss(jax.nn.softmax(logits), truth, weights=known.astype(jnp.float32))
    # the dice term is per example; times its pixels it has the same scale as the sum of cross-entropies
    return jnp.sum(each, (1, 2)) + dice * jnp.mean(overlap, -1) * pixels, pixels


def _tally(seen: Callable, outputs, batch) -> dict[str, jax.Array]:
    logits, segments, known = seen(outputs, batch)
    known &= batch["valid"][:, None, None] > 0
    classes = logits.shape[-1]
    truth = jax.nn.one_hot(segments, classes) * known[..., None]
    guess = jax.nn.one_hot(jnp.argmax(logits, -1), classes) * known[..., None]
    return {
        "both": jnp.sum(truth * guess, (0, 1, 2)),
        "either": jnp.sum(jnp.maximum(truth, guess), (0, 1, 2)),
        "pixels": jnp.sum(known).astype(jnp.float32),
        "examples": jnp.sum(batch["valid"]).astype(jnp.float32),
    }


def _rows(seen: Callable, cells: int, outputs, batch) -> dict[str, jax.Array]:
    logits, segments, known = seen(outputs, batch)
    guess, classes = jnp.argmax(logits, -1), logits.shape[-1]
    width = max(round(_BAND * math.hypot(*segments.shape[1:])), 1)
    found = {
        "overlap": _overlaps(guess, segments, known, classes),
        "boundary": _overlaps(guess, segments, known, classes, width),
    }
    if classes <= _MOST:
        found["confusion"] = _confusion(guess, segments, known, classes)
    if cells:
        truth, parts = (components((each == cells) & known) for each in (segments, guess))
        found["parted"], likely = _parted(truth, parts), jax.nn.softmax(logits)[..., cells]
        by_cut = jax.lax.map(lambda cut: _parted(truth, components((likely > cut) & known)), jnp.array(_CUTS))
        found["parted_from"] = jnp.moveaxis(by_cut, 0, 1)
        if "instances" in batch and "boxes" in batch:
            things = _centre(batch["instances"], logits.shape[1:3])
            found |= shared_parts(parts, jnp.where(known, things, 0), batch["boxes"].shape[1])
    return found


def _parted(truth, guess):
    """What is counted of how two maps of parts agree, (B, 6): pairs of pixels, and entropies."""
    return jnp.stack([*rand_sums(truth, guess), *entropies(truth, guess)], -1)


def _confusion(guess, segments, known, classes: int) -> jax.Array:
    """Pixels (B, K, K) by truth and guess."""
    pairs = jnp.where(known, segments.astype(jnp.int32) * classes + guess, classes**2)  # past the end: dropped
    pairs = pairs.reshape(len(segments), -1)
    counted = jax.vmap(lambda each: jnp.zeros(classes**2, jnp.int32).at[each].add(1, mode="drop"))(pairs)
    return counted.reshape(-1, classes, classes)


def _overlaps(guess, segments, known, classes: int, width: int = 0) -> jax.Array:
    """Pixels (B, K, 2) that a class has in both maps and in either; with a width, of the bands along its border."""

    def of_class(k):
        maps = [(each == k) & known for each in (segments, guess)]
        one, other = [each & ~eroded(each, width) for each in maps] if width else maps
        return jnp.stack([jnp.sum(one & other, (1, 2)), jnp.sum(one | other, (1, 2))], -1)

    return jnp.moveaxis(jax.lax.map(of_class, jnp.arange(classes)), 0, 1)


def _predicted(input: str, outputs, batch) -> dict[str, jax.Array]:
    probabilities, size = jax.nn.softmax(main_output(outputs)), batch[input].shape[1:3]
    segments = jnp.argmax(probabilities, -1)[..., None]
    return {"segments": _framed(segments, size, IGNORE)[..., 0], "probabilities": _framed(probabilities, size, 0)}


def _summary(names: tuple[str, ...], sums: Mapping, rows: Mapping) -> dict:
    both, either = (np.asarray(sums[name], np.float64) for name in ("both", "either"))
    iou, seen = both / np.maximum(either, 1), either > 0
    metrics = {
        "miou": _mean(iou, seen),
        "dice": _mean(2 * both / np.maximum(both + either, 1), seen),
        "pixel_accuracy": float(np.sum(both)) / max(float(sums["pixels"]), 1.0),
    }
    metrics |= {f"iou_{name}": float(value) for name, value, known in zip(names, iou, seen, strict=True) if known}
    if rows:
        metrics["miou_image"] = _mean_overlap(rows["overlap"])
        boundary = np.sum(rows["boundary"], 0, dtype=np.float64)
        metrics["boundary_iou"] = _mean(boundary[:, 0] / np.maximum(boundary[:, 1], 1), boundary[:, 1] > 0)
    if "parted" in rows:
        errors = _parting_errors(rows["parted"][:, None])
        best = _parting_errors(rows["parted_from"])
        metrics |= {name: float(each[0]) for name, each in errors.items()}
        metrics |= {f"{name}_best": float(np.min(each)) for name, each in best.items()}
    if "shared" in rows:
        metrics["dsb"] = parts_score(rows)
    return metrics | ({"confusion": np.sum(rows["confusion"], 0, dtype=np.int64)} if "confusion" in rows else {})


def _parting_errors(parted: np.ndarray) -> dict[str, np.ndarray]:
    """The mean errors (T,) over those images of (N, T, 6) that have a pair of pixels in one part."""
    pairs, truth, guess, joint, of_truth, of_guess = np.moveaxis(np.asarray(parted, np.float64), -1, 0)
    told, all_told = of_truth + of_guess - joint, of_truth + of_guess
    scores = {
        "rand_error": 2 * pairs / np.maximum(truth + guess, 1),
        "info_error": np.where(all_told > 0, 2 * told / np.where(all_told > 0, all_told, 1), 1.0),
    }
    counted = truth > 0
    return {name: 1 - np.sum(each * counted, 0) / np.maximum(counted.sum(0), 1) for name, each in scores.items()}


def _mean(values: np.ndarray, counted: np.ndarray) -> float:
    """The mean of those that count; 0 where none does."""
    return float(np.sum(values * counted) / max(np.sum(counted), 1))


def _mean_overlap(overlap: np.ndarray) -> float:
    """The mean over images of the mean intersection over union of the classes that occur in each."""
    both, either = np.moveaxis(np.asarray(overlap, np.float64), -1, 0)
    seen = either > 0
    each = np.sum(both / np.maximum(either, 1), 1) / np.maximum(np.sum(seen, 1), 1)
    return _mean(each, seen.any(1))


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
