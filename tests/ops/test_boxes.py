"""Overlaps of boxes, what is suppressed, and losses for them, against their formulas as plain loops."""

import jax
import numpy as np
import pytest
from jax.test_util import check_grads
from shapely.geometry import Polygon

from cnnjax import ops

box_corners, giou, ciou, huber_loss = map(jax.jit, (ops.box_corners, ops.giou, ops.ciou, ops.huber_loss))
non_max_suppression = jax.jit(ops.non_max_suppression, static_argnames="most")
NUMBERS = np.random.default_rng(0)


def boxes(*shape, side=40.0):
    low = NUMBERS.uniform(0, side, (*shape, 2))
    return np.concatenate([low, low + NUMBERS.uniform(0.5, side, (*shape, 2))], -1).astype(np.float32)


def plain_iou(a, b):
    sides = [max(0.0, min(a[2 + i], b[2 + i]) - max(a[i], b[i])) for i in (0, 1)]
    shared = sides[0] * sides[1]
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return shared / union, union


def plain_giou(a, b):
    overlap, union = plain_iou(a, b)
    around = (max(a[2], b[2]) - min(a[0], b[0])) * (max(a[3], b[3]) - min(a[1], b[1]))
    return overlap - (around - union) / around


def plain_ciou(a, b):
    """As torchvision's `complete_box_iou_loss` has it."""
    overlap, _ = plain_iou(a, b)
    diagonal = (max(a[2], b[2]) - min(a[0], b[0])) ** 2 + (max(a[3], b[3]) - min(a[1], b[1])) ** 2
    apart = sum((a[i] + a[2 + i] - b[i] - b[2 + i]) ** 2 / 4 for i in (0, 1))
    angles = [np.arctan((box[3] - box[1]) / (box[2] - box[0])) for box in (a, b)]
    unlike = 4 / np.pi**2 * (angles[0] - angles[1]) ** 2
    return overlap - apart / diagonal - unlike / (1 - overlap + unlike + 1e-12) * unlike


@pytest.mark.parametrize(("ours", "plain"), [(giou, plain_giou), (ciou, plain_ciou)])
def test_generalized_and_complete_overlaps_are_their_formulas(ours, plain):
    a, b = boxes(50), boxes(50)
    wanted = [plain(*pair) for pair in zip(a.astype(float), b.astype(float), strict=True)]
    np.testing.assert_allclose(ours(a, b), wanted, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(ours(a, a), 1, atol=1e-6)


@pytest.mark.parametrize("overlap", [ops.giou, ops.ciou])
def test_boxes_that_lie_apart_are_drawn_together(overlap):
    slope_of = jax.jit(jax.grad(overlap))
    slope = np.asarray(slope_of(np.float32([0, 0, 2, 2]), np.float32([8, 8, 10, 10])))
    assert np.isfinite(slope).all()
    assert (slope > 0).any()
    nothing = slope_of(np.zeros(4, np.float32), np.zeros(4, np.float32))
    assert np.isfinite(nothing).all(), "boxes without area, as padding has them"


def test_the_slope_of_a_generalized_overlap_is_right():
    check_grads(giou, (boxes(4, side=20.0), boxes(4, side=20.0)), 1, modes=["rev"], rtol=2e-2, atol=2e-3, eps=1e-2)


def test_boxes_are_made_of_centres_and_sides():
    np.testing.assert_array_equal(jax.jit(ops.centred_boxes)(np.float32([3, 5]), np.float32([2, 4])), [2, 3, 4, 7])


def plain_suppression(boxes, scores, iou, classes):
    """torchvision's rule: of boxes by falling score each one goes that overlaps a kept one by more than `iou`."""
    kept = []
    for i in np.argsort(-scores, kind="stable"):
        if all(classes[i] != classes[k] or plain_iou(boxes[i], boxes[k])[0] <= iou for k in kept):
            kept.append(int(i))
    return kept


@pytest.mark.parametrize("iou", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_what_is_suppressed_is_what_torchvision_suppresses(seed, iou):
    draw = np.random.default_rng(seed)
    low = draw.integers(0, 12, (40, 2))
    several = np.concatenate([low, low + draw.integers(1, 9, (40, 2))], -1).astype(np.float32)
    scores = (draw.integers(0, 12, 40) / 8).astype(np.float32)  # many are equal
    classes = draw.integers(0, 2, 40)
    for kinds in (np.zeros(40, int), classes):
        wanted = plain_suppression(several.astype(float), scores, iou, kinds)
        rows, kept = non_max_suppression(several, scores, iou=iou, most=40, classes=kinds)
        assert list(np.asarray(rows)[np.asarray(kept)]) == wanted
        assert not np.asarray(rows)[~np.asarray(kept)].any()
        few, all_kept = non_max_suppression(several, scores, iou=iou, most=3, classes=kinds)
        assert list(np.asarray(few)[np.asarray(all_kept)]) == wanted[:3]


@pytest.mark.parametrize("limit", [0.05, 0.4])
def test_of_turned_boxes_those_stay_that_a_loop_over_polygons_keeps(limit):
    draw = np.random.default_rng(3)
    parts = draw.uniform(0, 30, (40, 2)), draw.uniform(2, 12, (40, 2)), draw.uniform(-4, 4, 40)
    corners, scores = np.asarray(box_corners(*map(np.float32, parts))), draw.random(40).astype(np.float32)
    polygons, wanted = [Polygon(box) for box in corners], []
    for row in np.argsort(-scores):
        shared = [polygons[row].intersection(polygons[other]).area for other in wanted]
        unions = [polygons[row].union(polygons[other]).area for other in wanted]
        if all(a <= limit * b for a, b in zip(shared, unions, strict=True)):
            wanted.append(row)
    rows, kept = non_max_suppression(corners, scores, iou=limit, most=40)
    assert np.asarray(rows)[np.asarray(kept)].tolist() == wanted
    assert 5 < len(wanted) < 40
    beside = box_corners(*map(np.float32, ([[20, 20], [26, 26]], [[30, 4]] * 2, [-np.pi / 4] * 2)))
    assert np.all(non_max_suppression(beside, scores[:2], iou=limit, most=2)[1]), "what is around them overlaps"


def test_an_overlap_of_exactly_the_limit_stays():
    pair = np.float32([[0, 0, 2, 2], [0, 0, 2, 1]])
    scores = np.float32([0.9, 0.8])
    assert non_max_suppression(pair, scores, iou=0.5, most=2)[1].tolist() == [True, True]
    assert non_max_suppression(pair, scores, iou=0.499, most=2)[1].tolist() == [True, False]


def test_boxes_that_are_none_and_boxes_without_area():
    scores = np.float32([-np.inf, 0.5, 0.5])
    rows, kept = non_max_suppression(np.zeros((3, 4), np.float32), scores, most=4)
    assert rows.tolist() == [1, 2, 0, 0]
    assert kept.tolist() == [True, True, False, False]
    assert not np.any(non_max_suppression(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), most=2)[1])


def test_the_sigmoid_focal_loss_is_torchvisions():
    logits = NUMBERS.normal(0, 3, (30,)).astype(np.float32)
    targets = NUMBERS.integers(0, 2, 30).astype(np.float32)
    chance = 1 / (1 + np.exp(-logits.astype(float)))
    right = chance * targets + (1 - chance) * (1 - targets)
    alpha = 0.25 * targets + 0.75 * (1 - targets)
    wanted = alpha * (1 - right) ** 2 * -np.log(right)

    @jax.jit
    def losses(logits, targets):
        plain = ops.focal_sigmoid_cross_entropy(logits, targets, gamma=0.0), ops.sigmoid_cross_entropy(logits, targets)
        return ops.focal_sigmoid_cross_entropy(logits, targets, positive=0.25, negative=0.75), *plain

    found, plain, expected = losses(logits, targets)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(plain, expected, rtol=1e-6)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_the_focal_loss_of_a_soft_target_is_least_at_it_and_its_slope_is_finite_there(gamma):
    targets = np.float32([0, 0.3, 1])
    logits = np.float32([-60, np.log(0.3 / 0.7), 60])
    slopes = jax.jit(jax.grad(lambda x: ops.focal_sigmoid_cross_entropy(x, targets, gamma=gamma).sum()))(logits)
    np.testing.assert_allclose(slopes, 0, atol=1e-4)


def test_the_huber_loss_is_square_near_and_straight_far():
    apart = np.float32([0, 0.5, -1, 3])
    np.testing.assert_allclose(huber_loss(apart, np.zeros(4, np.float32)), [0, 0.125, 0.5, 2.5])
    np.testing.assert_allclose(huber_loss(apart, np.zeros(4, np.float32), delta=2.0), [0, 0.125, 0.5, 4.0])
    with pytest.raises(ValueError, match="targets have shape"):
        huber_loss(apart, np.zeros(3, np.float32))
