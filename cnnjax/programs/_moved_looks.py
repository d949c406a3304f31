"""What `analyze` shows of a net whose images move, and of how much its units see: parts as in `_looks`."""

import jax
import numpy as np

from cnnjax import analysis
from cnnjax.programs._look import Look, spread
from cnnjax.programs._looks import Found
from cnnjax.runs.pages import Picture, Rows
from cnnjax.runs.tables import readable

_MOVED, _SEEN = (60, 250_000), (16, 300_000)  # images that are moved, or whose gradients are taken; pixels
_SHIFTED = 2  # examples of either end whose probability is drawn by shift
_MAPS = 12  # whose effective fields are shown
_AROUND = 2  # units along each axis that an effective field is the mean of
_MOVES = (("down", 1.0), ("down", 2.0), ("right", 4.0), ("rotation", 10.0), ("scale", 0.25), ("scale", -0.25))
_AMOUNTS = {"rotation": 90.0, "scale": 1.0, "shear": 1.0, "brightness": 0.5, "contrast": 2.0}  # but for shifts
_STEPS, _PAIRS = 4, 5  # of curves, to either side; of shifts
_SCANNED, _HALVED = 16, 8  # steps up to a limit, and between two of them


def effective(look: Look) -> Found:
    """How much of what they could see the units of each map look at: where the gradient of the middle ones is."""
    rows = spread(look, *_SEEN)
    found = analysis.effective_fields(*look.pair, look.seen[rows], around=_AROUND, most=_MAPS)
    if not found:
        raise ValueError("the net has no map whose units look at a part of the picture")
    numbers = {
        name: {word: getattr(each, word) for word in ("sigma", "area", "side", "share", "radii", "theory", "dead")}
        for name, each in found.items()
    }
    what = (
        f"mean over {len(rows)} images and the {_AROUND**2} middle units; framed, what could be seen; roots are drawn"
    )
    return [Picture(analysis.draw_effective_fields(found), what, wide=True)], numbers


def equivariance(look: Look) -> Found:
    """Whether maps move with the picture, and what answers say as it moves."""
    rows = spread(look, *_MOVED)
    tables, numbers = _by_layer(look, rows)
    images, labels = look.images[rows], look.labels[rows] if len(look.labels) else ()
    limits = _limits(images)
    amounts = {motion: np.linspace(-most, most, 2 * _STEPS + 1) for motion, most in limits.items()}
    curves = analysis.invariances(look.f, images, amounts, labels=labels)
    smallest = min(images.shape[1:3])
    reach = 8 if smallest >= 128 else 3 if smallest >= 32 else 2
    alike = analysis.consistency(jax.random.key(0), look.f, images, reach=reach, pairs=_PAIRS)
    ends = look.both_ends(_SHIFTED)
    wanted = look.labels[ends] if len(look.labels) else look.asked[ends]
    shifts = analysis.shift_map(look.f, look.images[ends], wanted, reach=max(1, min(8, smallest // 4)))
    numbers |= {
        "consistency": {"reach": reach, "share": alike},
        "invariance": {
            name: {word: value.tolist() for word, value in vars(each).items()} for name, each in curves.items()
        },
    }
    blocks = [
        *tables,
        f"Of pairs of shifts of up to {reach} pixels each, {alike:.1%} are answered alike (consistency, Zhang 2019).",
        Picture(
            analysis.draw_invariances(curves), f"answers to {len(rows)} images by how far they were moved", wide=True
        ),
        Picture(
            analysis.draw_shift_map(look.shown[ends], shifts, captions=[look.said(row) for row in ends]),
            f"the probability of {'the right' if len(look.labels) else 'the predicted'} class by how far the picture "
            "is shifted; the worst examples, then the best",
            wide=True,
        ),
    ]
    return blocks, numbers


def _by_layer(look, rows):
    """Tables of errors by layer and move, or why there are none."""
    moves = {f"{motion} {amount:g}": analysis.affine(motion, amount) for motion, amount in _MOVES}
    try:
        shape = (1, *look.seen.shape[1:])
        fields = analysis.receptive_fields(look.net, shape) if hasattr(look.net, "features") else {}
        moved = analysis.equivariance_errors(look.pair, look.seen[rows], moves, fields=fields)
        slopes = analysis.lie_errors(look.pair, look.seen[rows], fields=fields)
    except ValueError as error:
        return [f"No layer is asked: {str(error).splitlines()[0]}"], {}
    told = "in decibels (10 is a tenth of the power), where no border is seen; – where every place sees one"
    blocks = [
        Picture(
            analysis.draw_equivariance(moved, title="moved images"), f"maps of moved images and moved maps, {told}"
        ),
        Picture(
            analysis.draw_equivariance(slopes, title="Lie derivatives"),
            "the same for motions by next to nothing, per pixel, degree, doubling and brightness of 1",
        ),
    ]
    numbers = {
        name: {"layers": each.layers, "moves": each.moves, "error": each.error.tolist(), "places": each.places.tolist()}
        for name, each in (("moved", moved), ("lie", slopes))
    }
    return blocks, numbers


def turning(look: Look) -> Found:
    """How far a picture can be moved until it is answered otherwise: the least rotation, shift, scale, brightness."""
    rows = spread(look, *_MOVED)
    found = analysis.turning_points(look.f, look.images[rows], _limits(look.images), steps=_SCANNED, halvings=_HALVED)
    cells, numbers = [], {}
    for motion, each in found.items():
        low, middle = (float(np.quantile(each.least, share, method="lower")) for share in (0.1, 0.5))
        never = float(np.isinf(each.least).mean())
        cells.append(
            [motion, *(_amount(value, each.limit) for value in (low, middle)), f"{never:.0%}", f"{each.limit:g}"]
        )
        numbers[motion] = {"limit": each.limit, "amounts": each.amounts.tolist(), "becomes": each.becomes.tolist()}
    words = f"{len(rows)} images"
    if len(look.labels):
        words += f", {(look.asked[rows] == look.labels[rows]).mean():.0%} of them rightly answered unmoved,"
    head = ["motion", "a tenth turns by", "half turns by", "never turns", "searched up to"]
    blocks = [
        Rows(head, cells),
        Picture(
            analysis.draw_turning_points(found), f"of {words} the share that is answered alike up to an amount", True
        ),
    ]
    return blocks, numbers


def _amount(value: float, limit: float) -> str:
    return readable(value) if np.isfinite(value) else f"> {limit:g}"


def _limits(images: np.ndarray) -> dict[str, float]:
    """How far each motion is tried: shifts up to a half of the picture."""
    down, right = (float(size // 2) for size in images.shape[1:3])
    return {"down": down, "right": right, **_AMOUNTS}
