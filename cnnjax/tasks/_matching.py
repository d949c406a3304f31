"""What was found against what there is, in NumPy: the average precision of COCO and of VOC, the score of DSB 2018.

Boxes are y0 x0 y1 x1 from edge to edge, I pictures with D found rows, G true ones; all sums are in float64.
"""

from typing import NamedTuple

import numpy as np

__all__ = [
    "AREAS",
    "MOST",
    "OVERLAPS",
    "RECALLS",
    "Curves",
    "FORTIETHS",
    "Found",
    "Scores",
    "Truths",
    "box_areas",
    "coco",
    "dsb",
    "kitti",
    "overlaps",
    "voc",
]

OVERLAPS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)
FORTIETHS = np.arange(41) / 40  # KITTI's recalls: all but the first since 2019, every fourth before
_NEAR = (0.5, 0.7)  # overlaps of KITTI's classes
AREAS = ((0, 1e10), (0, 32**2), (32**2, 96**2), (96**2, 1e10))  # all, small, medium, large; both ends count
MOST = (1, 10, 100)  # found rows a picture and class that count, the best
_TOGETHER = 256  # pictures that are matched at once
_GREEDY = 1 - 1e-10  # COCO's cap of a threshold


class Found(NamedTuple):
    """What was found: scores, classes, areas and whether there is such a row, (I, D) each."""

    scores: np.ndarray
    classes: np.ndarray
    areas: np.ndarray
    present: np.ndarray


class Truths(NamedTuple):
    """What there is: classes, areas, whether there is such a row, and whether it is one to ignore, (I, G) each."""

    classes: np.ndarray
    areas: np.ndarray
    present: np.ndarray
    ignored: np.ndarray


class Scores(NamedTuple):
    """precision (T, R, K, A) by overlap, recall, class and area, recall (T, K, A, M); −1 where there is no truth."""

    precision: np.ndarray
    recall: np.ndarray


def box_areas(found: np.ndarray, true: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The shared area (I, D, G) of boxes (I, D, 4) and (I, G, 4), and the areas (I, D) and (I, G) of each."""
    found, true = np.asarray(found, np.float64), np.asarray(true, np.float64)
    low = np.maximum(found[:, :, None, :2], true[:, None, :, :2])
    high = np.minimum(found[:, :, None, 2:], true[:, None, :, 2:])
    shared = np.maximum(high - low, 0).prod(-1)
    return shared, *(np.maximum(boxes[..., 2:] - boxes[..., :2], 0).prod(-1) for boxes in (found, true))


def overlaps(shared: np.ndarray, found: np.ndarray, true: np.ndarray, crowds: np.ndarray | bool = False) -> np.ndarray:
    """Intersection over union (I, D, G) of shared areas and those of what was found (I, D) and of the truth (I, G).

    With `crowds` (I, G) over what was found alone, as COCO does there.
    """
    own = found[:, :, None]
    union = np.where(np.asarray(crowds)[..., None, :] if np.ndim(crowds) else crowds, own, own + true[:, None] - shared)
    return np.divide(shared, union, out=np.zeros(shared.shape), where=shared > 0)


def coco(found: Found, true: Truths, iou: np.ndarray, classes: int) -> Scores:
    """Precision and recall as pycocotools has them, from the overlaps (I, D, G) of what was found with the truth.

    The rows of a truth that are ignored are crowds: what lies in one counts neither way. Areas say which sizes count,
    and may be others than those that the overlaps were made of: COCO's boxes are sized by their masks.
    """
    found, iou = _best_first(found, iou)
    rank = _ranks(found)
    hit, out, _ = _matched(found, true, iou)
    precision = np.full((len(OVERLAPS), len(RECALLS), classes, len(AREAS)), -1.0)
    recall = np.full((len(OVERLAPS), classes, len(AREAS), len(MOST)), -1.0)
    known = true.present & ~true.ignored
    for kind in range(classes):
        rows = found.present & (found.classes == kind)
        for area, (low, high) in enumerate(AREAS):
            positives = (known & (true.classes == kind) & (true.areas >= low) & (true.areas <= high)).sum()
            if not positives:
                continue
            for m, most in enumerate(MOST):
                chosen = rows & (rank < most)
                order = np.argsort(-found.scores[chosen], kind="stable")
                hits, outs = (np.moveaxis(x[:, area], 1, -1)[chosen][order] for x in (hit, out))  # (n, T)
                right, wrong = (
                    np.cumsum(hits & ~outs, 0, dtype=np.float64),
                    np.cumsum(~hits & ~outs, 0, dtype=np.float64),
                )
                recall[:, kind, area, m] = right[-1] / positives if len(right) else 0
                if most == MOST[-1]:
                    precision[:, :, kind, area] = _at_recalls(right, right + wrong, right / positives, RECALLS)
    return Scores(precision, recall)


def _best_first(found, *more):
    """The rows of each picture by falling score, equal ones in their order, those that are not there last."""
    order = np.argsort(np.where(found.present, -found.scores, np.inf), 1, kind="stable")
    rows = np.arange(len(order))[:, None]
    return Found(*(value[rows, order] for value in found)), *(value[rows, order] for value in more)


def _ranks(found):
    """How many better ones of its picture and class each row has, (I, D)."""
    same = (found.classes[:, :, None] == found.classes[:, None]) & found.present[:, None]
    return np.tril(same, -1).sum(-1)


def _matched(found, true, iou, overlaps=OVERLAPS, areas=AREAS):
    """(I, A, T, D) whether a found row is matched, whether it counts neither way, and with what, by area and overlap.

    One by one, the best first: each takes the free truth that it overlaps most, of equal ones the last, and only where
    there is none of those one to ignore.
    """
    low, high = np.array(areas).T[..., None]
    count, several = iou.shape[:2]
    shape = (count, len(areas), len(overlaps), several)
    hit, out, which = np.zeros(shape, bool), np.zeros(shape, bool), np.zeros(shape, np.int32)
    for start in range(0, count, _TOGETHER):
        some = slice(start, start + _TOGETHER)
        sizes, crowd = true.areas[some, None], true.ignored[some, None]
        besides = crowd | (sizes < low) | (sizes > high)  # (i, A, G)
        free = np.repeat(true.present[some, None, None], len(areas), 1).repeat(len(overlaps), 2)  # (i, A, T, G)
        enough = np.minimum(overlaps, _GREEDY)[:, None]
        for row in range(several):
            there = found.present[some, row]
            if not there.any():
                break
            same = (true.classes[some] == found.classes[some, row, None]) & there[:, None]
            each = np.where(same, iou[some, row], -1.0)
            may = free & (each[:, None, None] >= enough)
            real = may & ~besides[:, :, None]
            may = np.where(real.any(-1, keepdims=True), real, may)
            chosen = np.where(may, each[:, None, None], -1.0)[..., ::-1].argmax(-1)
            chosen = each.shape[-1] - 1 - chosen
            matched = may.any(-1)
            index = chosen[..., None]
            aside = np.take_along_axis(np.broadcast_to(besides[:, :, None], may.shape), index, -1)[..., 0]
            again = np.take_along_axis(np.broadcast_to(crowd[:, :, None], may.shape), index, -1)
            left = np.take_along_axis(free, index, -1) & (again | ~matched[..., None])
            np.put_along_axis(free, index, left, -1)
            own = found.areas[some, row, None]
            beyond = (own < low[:, 0]) | (own > high[:, 0])
            hit[some, :, :, row], which[some, :, :, row] = matched, chosen
            out[some, :, :, row] = np.where(matched, aside, beyond[..., None])
    return hit, out, which


def _at_recalls(worth, several, recall, recalls):
    """(T, R) the best share of worth from each of `recalls` on, from running sums (n, T) over the rows found so far."""
    found = np.zeros((recall.shape[1], len(recalls)))
    share = np.maximum.accumulate((worth / (several + np.spacing(1)))[::-1], 0)[::-1]
    for t in range(len(found)):
        places = np.searchsorted(recall[:, t], recalls, side="left")
        reached = places < len(recall)
        found[t, reached] = share[places[reached], t]
    return found


class Curves(NamedTuple):
    """(2, K, 41) each, by overlap of a half and of 0.7, class and recall, −1 where there is no truth.

    How precise what is found is, how much so by the likeness of headings, and by that of axes, whose front and back are
    alike. turns (2, n) in radians are how far off both are where a half overlaps.
    """

    precision: np.ndarray
    headings: np.ndarray
    axes: np.ndarray
    turns: np.ndarray


def kitti(found: Found, true: Truths, iou: np.ndarray, turn: np.ndarray, classes: int) -> Curves:
    """KITTI's curves, from overlaps and turns (I, D, G) in radians of what was found against the truth.

    Their means are average precision at the recalls 1/40, …, 1 (Simonelli 2019), or at 0, 0.1, …, 1, and average
    orientation similarity (Geiger 2012). Rows are matched as COCO's are, and every score is a threshold; the devkit's
    are those that come next to the recalls.
    """
    found, iou, turn = _best_first(found, iou, turn)
    hit, out, which = (x[:, 0] for x in _matched(found, true, iou, np.array(_NEAR), AREAS[:1]))  # (I, T, D)
    off = np.take_along_axis(turn[:, None], which[..., None], -1)[..., 0] if turn.shape[-1] else np.zeros(hit.shape)
    known = true.present & ~true.ignored
    curves = np.full((3, len(_NEAR), classes, len(FORTIETHS)), -1.0)
    for kind in range(classes):
        rows, positives = found.present & (found.classes == kind), (known & (true.classes == kind)).sum()
        if not positives:
            continue
        order = np.argsort(-found.scores[rows], kind="stable")
        hits, outs, turns = (np.moveaxis(x, 1, -1)[rows][order] for x in (hit, out, off))  # (n, T)
        hits = hits & ~outs
        right, several = (np.cumsum(x, 0, dtype=np.float64) for x in (hits, ~outs))
        worths = [right, *(np.cumsum(hits * (1 + np.cos(n * turns)) / 2, 0) for n in (1, 2))]
        for curve, worth in zip(curves, worths, strict=True):
            curve[:, kind] = _at_recalls(worth, several, right / positives, FORTIETHS)
    found = off[:, 0][hit[:, 0] & ~out[:, 0]]
    turns = [np.abs((found + period / 2) % period - period / 2) for period in (2 * np.pi, np.pi)]
    return Curves(*curves, np.stack(turns))


def voc(found: Found, true: Truths, iou: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """VOC's average precision (K,) of 2007 (eleven recalls) and of 2010 (the whole curve); −1 where there is no truth.

    Each row looks only at the truth that it overlaps most, whether that is taken or not. A truth to ignore is what VOC
    calls difficult. The devkit's + 1 is in the boxes already: they go from edge to edge, its from pixel to pixel.
    """
    result = np.full((2, classes), -1.0)
    for kind in range(classes):
        mine = true.present & (true.classes == kind)
        positives = (mine & ~true.ignored).sum()
        if not positives:
            continue
        rows = np.argwhere(found.present & (found.classes == kind))
        rows = rows[np.argsort(-found.scores[tuple(rows.T)], kind="stable")]
        taken, right, wrong = np.zeros_like(mine), [], []
        for picture, row in rows:
            each = np.where(mine[picture], iou[picture, row], -1.0)
            best = each.argmax() if len(each) else 0
            near = len(each) > 0 and each[best] > 0.5
            aside = near and true.ignored[picture, best]
            hit = near and not aside and not taken[picture, best]
            right.append(hit)
            wrong.append(not hit and not aside)
            if hit:
                taken[picture, best] = True
        right, wrong = np.cumsum(right), np.cumsum(wrong)
        result[:, kind] = _voc_areas(right / positives, right / np.maximum(right + wrong, np.finfo(np.float64).eps))
    return result[0], result[1]


def _voc_areas(recall, precision):
    eleven = [precision[recall >= at].max(initial=0.0) for at in np.arange(0.0, 1.1, 0.1)]
    recall, precision = np.concatenate([[0.0], recall, [1.0]]), np.concatenate([[0.0], precision, [0.0]])
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    return sum(eleven) / 11, np.sum(np.diff(recall) * precision[1:])


def dsb(found: Found, true: Truths, iou: np.ndarray) -> np.ndarray:
    """The score (I,) of the Data Science Bowl 2018: hits / (hits + misses + false ones), over ten overlaps, no scores.

    A found row and a true one hit where they overlap by more; of several that would, the nearest pairs do. Rows to
    ignore are left out, with all that lies in them by more than half. A picture with nothing, where nothing was found,
    scores 1.
    """
    in_crowd = ((iou > 0.5) & (true.present & true.ignored)[:, None]).any(-1)
    there, real = found.present & ~in_crowd, true.present & ~true.ignored
    iou = np.where(there[:, :, None] & real[:, None], iou, 0.0)
    result = np.ones(len(iou))
    for picture, each in enumerate(iou):
        both, hits = there[picture].sum() + real[picture].sum(), np.zeros(len(OVERLAPS))
        while each.size and (best := each.max()) > OVERLAPS[0]:
            hits += best > OVERLAPS
            row, column = np.unravel_index(each.argmax(), each.shape)
            each[row], each[:, column] = 0, 0
        if both:
            result[picture] = (hits / (both - hits)).mean()
    return result
