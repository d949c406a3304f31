"""Boxes: which place answers for which row, what is ignored, masks and their overlaps, one box a picture."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax.config import ConfigError
from cnnjax.data import from_arrays, shapes
from cnnjax.models._pyramids import spread
from cnnjax.tasks import detection, localization
from cnnjax.tasks._aligned import laid_out
from cnnjax.tasks._assigning import Truth, assigned, truth_of
from cnnjax.tasks._dense import box_losses
from cnnjax.train._contract import check_outputs

SOURCE = shapes(train=2, test=2, size=32, objects=3, boxes=True)
FACTS = SOURCE.facts
PLACES = np.asarray(spread((32, 32), (8, 8), 4))


def outputs(boxes, logits, batch=1):
    """Outputs of the same boxes (P, 4) and logits (P, K) for each of a batch."""
    several = {"main": logits, "boxes": boxes, "places": PLACES}
    return {name: np.broadcast_to(np.float32(value), (batch, *value.shape)) for name, value in several.items()}


def truth(boxes, classes=(), ignored=()):
    boxes = np.float32([boxes])
    rows = boxes.shape[1]
    classes = np.int32([classes or [0] * rows])
    aside = np.zeros((1, rows), bool) if not ignored else np.array([ignored]) > 0
    return Truth(boxes, classes, ~aside, aside)


def around(places, side):
    return np.concatenate([places[:, :2] - side / 2, places[:, :2] + side / 2], -1)


@jax.jit
def answering(there, found):
    return assigned(jax.nn.sigmoid(found["main"]), found["boxes"], found["places"], there)


def test_a_box_is_answered_for_by_the_places_inside_that_fit_it_best():
    there = truth([[4, 4, 24, 24], [20, 20, 32, 32]])
    found = outputs(around(PLACES, 16.0), np.zeros((64, 4)))
    answers = jax.tree.map(np.asarray, answering(there, found))
    for row, (y0, x0, y1, x1) in enumerate([(4, 4, 24, 24), (20, 20, 32, 32)]):
        mine = (answers.owner[0] == row) & (answers.share[0] > 0)
        y, x = np.asarray(PLACES)[mine, :2].T
        assert 1 <= mine.sum() <= 10
        assert ((y > y0) & (y < y1) & (x > x0) & (x < x1)).all()
    best = np.asarray(PLACES)[answers.places[0, 0, 0], :2]
    np.testing.assert_array_equal(best, [14, 14])
    # the best place learns how well its box fits, here 16² of 20²
    assert answers.share[0, answers.places[0, 0, 0]] == pytest.approx(256 / 400)
    assert answers.share[0].max() <= 1


def test_among_places_that_fit_alike_the_one_that_says_the_class_answers():
    there, logits = truth([[0, 0, 32, 32]], [2]), np.full((64, 4), -5.0)
    logits[27, 2], logits[28, 1] = 2, 4
    same = np.broadcast_to(np.float32([2, 2, 30, 30]), (64, 4))
    found = outputs(same, logits)
    answers = answering(there, found)
    assert int(answers.places[0, 0, 0]) == 27


def test_a_box_smaller_than_the_gaps_between_places_has_one_too():
    there = truth([[3.5, 3.5, 4.5, 4.5], [16.1, 9.0, 16.4, 9.2]])
    found = outputs(around(PLACES, 4.0), np.zeros((64, 4)))
    answers = answering(there, found)
    assert {0, 1} <= set(np.asarray(answers.owner)[np.asarray(answers.share) > 0].tolist())


@jax.jit
def lost(there, found):
    return box_losses(found, there, answering(there, found), gamma=0.0, overlap=1.0)


def test_what_is_ignored_is_neither_to_be_found_nor_a_fault():
    boxes, quiet = around(PLACES, 8.0), np.full((64, 4), -8.0)
    inside = (PLACES[:, :2] > 16).all(-1)
    loud = np.where(inside[:, None], 3.0, quiet)
    aside, nothing = truth([[16, 16, 32, 32]], ignored=[1]), truth([[0, 0, 0, 0]], ignored=[1])
    nothing = nothing._replace(ignored=np.zeros((1, 1), bool))
    calm, weights = lost(aside, outputs(boxes, quiet))
    assert lost(aside, outputs(boxes, loud))[0] == pytest.approx(calm), "a box there costs nothing"
    assert lost(nothing, outputs(boxes, loud))[0] > 30 + calm[0], "elsewhere it does"
    assert float(weights[0]) == 0


def test_a_row_inside_one_to_ignore_is_found_all_the_same():
    both = truth([[16, 16, 32, 32], [20, 20, 28, 28]], ignored=[1, 0])
    found = outputs(around(PLACES, 8.0), np.zeros((64, 4)))
    answers = answering(both, found)
    mine = np.asarray(answers.share[0]) > 0
    assert mine.any()
    assert (np.asarray(answers.owner)[0, mine] == 1).all()
    assert (np.asarray(answers.counts)[0, mine] == 1).all()


ROWS = ("boxes", "classes", "present")


def perfect_masks():
    """A batch of scenes, and outputs whose prototypes are its instances, each row found at a place of its own."""
    batch = {**SOURCE.train.arrays, "valid": np.ones(2, np.float32)}
    rows = batch["boxes"].shape[1]
    cells = np.clip((batch["boxes"][..., :2] + batch["boxes"][..., 2:]) // 8, 0, 7).astype(int)
    near = np.where(batch["present"] > 0, cells[..., 0] * 8 + cells[..., 1], np.arange(rows))
    assert all(len(set(each)) == rows for each in near.tolist())

    def said(values, rest=0.0):
        result = np.full((2, 64, values.shape[-1]), rest, np.float32)
        result[np.arange(2)[:, None], near] = values
        return result

    hot = np.eye(4)[batch["classes"]] * batch["present"][..., None] > 0
    masks = np.stack([batch["instances"] == 1 + row for row in range(rows)], -1)
    found = {
        "main": said(np.where(hot, 8.0, -12.0), -12.0),
        "boxes": said(batch["boxes"]),
        "places": np.broadcast_to(PLACES, (2, *PLACES.shape)),
        "coefficients": said(np.eye(rows)[None]),
        "prototypes": np.float32(np.where(masks, 9.0, -9.0)),
    }
    return batch, found


@jax.jit
def judged(found, batch):
    task = detection(FACTS)
    return task.predict(found, batch), task.tally(found, batch), task.rows(found, batch)


def scores(batch, found):
    _, sums, rows = jax.tree.map(np.asarray, judged(found, batch))
    return detection(FACTS).summarize(sums, rows), rows


def test_masks_that_are_right_score_1_and_their_rows_are_overlaps_not_masks():
    batch, found = perfect_masks()
    measured, rows = scores(batch, found)
    assert measured["ap"] == measured["mask_ap"] == measured["dsb"] == 1
    assert measured["precision"].shape == measured["mask_precision"].shape == (4, 101)
    assert max(value[0].size for value in rows.values()) <= 100 * 4
    words, *_ = judged(found, batch)
    assert words["masks"].shape == (2, 100, 32, 32)
    there = np.asarray(words["present"])[0] > 0
    order = np.asarray(words["classes"])[0][there]
    assert sorted(order) == sorted(np.asarray(batch["classes"])[0][np.asarray(batch["present"])[0] > 0])


def test_masks_half_as_large_are_found_at_low_overlaps_alone():
    batch, found = perfect_masks()
    columns = np.arange(32)[None, None, :, None]
    left = columns < (
        batch["boxes"][:, None, None, :, 1] + 0.62 * (batch["boxes"][..., 3] - batch["boxes"][..., 1])[:, None, None]
    )
    found["prototypes"] = np.where(left, found["prototypes"], np.float32(-9))
    measured, _ = scores(batch, found)
    assert measured["ap"] == 1
    assert 0 < measured["mask_ap"] < 0.7
    assert measured["mask_ap50"] > measured["mask_ap75"]


def test_pixels_that_count_nowhere_count_in_no_mask():
    batch, found = perfect_masks()
    unknown = {**batch, "instances": np.where(np.arange(32) < 16, batch["instances"], 255)}
    found["prototypes"] = np.where((np.arange(32) < 16)[:, None], found["prototypes"], np.float32(9))
    _, rows = scores(unknown, found)
    areas = [(unknown["instances"] == 1 + row).sum((1, 2)) for row in range(3)]
    np.testing.assert_array_equal(rows["true_pixels"], np.stack(areas, -1))
    for picture in range(2):
        for row in range(3):
            assert rows["shared"][picture, :, row].max() == rows["true_pixels"][picture, row]


class Drawing:
    """A net that draws, in each box it is asked for, the thing in its middle, and finds the boxes of a batch."""

    def __init__(self, found, instances, *, train, sign=1.0):
        self.found, self.instances, self.train, self.sign = found, instances, train, sign

    def __call__(self, params, fields, key, *, part="", state=()):
        if not part:
            return self.found | {"maps": jnp.zeros((len(self.instances), 16, 16, 1))}, {}
        assert part == "aligned_masks"
        steps = (jnp.arange(28) + 0.5) / 28
        boxes = fields[1][..., None]
        y, x = (boxes[..., i, :] + (boxes[..., i + 2, :] - boxes[..., i, :]) * steps for i in (0, 1))
        inside = (y >= 0)[..., :, None] & (y < 32)[..., :, None] & (x >= 0)[..., None, :] & (x < 32)[..., None, :]
        y, x = (jnp.clip(each.astype(int), 0, 31) for each in (y, x))
        met = jax.vmap(lambda things, y, x: things[y[..., :, None], x[..., None, :]])(self.instances, y, x)
        drawn = (met == met[:, :, 14:15, 14:15]) & inside
        return jnp.where(drawn, 9.0, -9.0) * self.sign, {}


def blocks():
    """A batch of two pictures of two blocks each, and outputs that find their boxes."""
    batch = {**SOURCE.train.arrays, "valid": np.ones(2, np.float32)}
    boxes = np.float32([[[2, 3, 14, 13], [17, 16, 29, 30], [0, 0, 0, 0]]] * 2)
    instances = np.zeros((2, 32, 32), np.uint8)
    for row, (y0, x0, y1, x1) in enumerate(boxes[0, :2].astype(int), 1):
        instances[:, y0:y1, x0:x1] = row
    batch |= {"boxes": boxes, "instances": instances, "present": np.float32([[1, 1, 0]] * 2)}
    batch["classes"] = np.zeros((2, 3), np.int32)
    said = np.full((64, 4), -12, np.float32)
    near = [2 * 8 + 2, 5 * 8 + 5]
    said[near, 0] = 8
    where = np.zeros((64, 4), np.float32)
    where[near] = boxes[0, :2]
    return batch, outputs(where, said, 2)


@pytest.mark.proofs
def test_masks_drawn_box_by_box_are_measured_and_trained_as_those_of_prototypes_are():
    (batch, found), given = blocks(), []

    @jax.jit
    def measured(batch):
        task = detection(FACTS)
        net = Drawing(found, batch["instances"], train=False)
        loss, _, (outputs, _) = task.loss(net, {}, batch, jax.random.key(0))
        trained = [
            task.loss(Drawing(found, batch["instances"], train=True, sign=sign), {}, batch, jax.random.key(0))
            for sign in (1.0, -1.0)
        ]
        losses = [loss, *(each[0] for each in trained)]
        given.extend(trained[0][2][0])
        return losses, task.predict(outputs, batch), task.rows(outputs, batch)

    losses, words, rows = measured(batch)
    assert "crops" not in given, "training asks for masks of true rows alone"
    right, trained, wrong = (np.asarray(each).sum() for each in losses)
    assert right == trained
    np.testing.assert_allclose(wrong - trained, 3.0 * 4 * 9, rtol=1e-3)  # task.masks · rows · logits of 9
    scores = detection(FACTS).summarize({"objects": 4.0}, jax.tree.map(np.asarray, rows))
    assert (scores["ap"], scores["mask_ap"], scores["dsb"]) == (1, 1, 1)
    drawn = np.asarray(words["masks"]) & (np.asarray(words["present"]) > 0)[..., None, None]
    assert drawn.sum((1, 2, 3)).tolist() == pytest.approx([12 * 10 + 12 * 14] * 2, abs=12)


def test_a_mask_is_laid_between_its_places_and_nowhere_beyond_its_box():
    """Logits that rise by the row are a half plane: of a box of 20 with room, 24, the line lies where they are 0."""
    logits = np.tile(np.arange(12.0)[:, None] - 3.5, (1, 1, 12)).astype(np.float32)
    boxes = np.float32([[10, 5, 30, 25]])  # with room 8 … 32 by 3 … 27, two pixels a place
    (mask,) = np.asarray(jax.jit(lambda *each: laid_out(*each, (40, 40)))(logits, boxes))
    y, x = np.nonzero(mask)
    assert (y.min(), y.max() + 1, x.min(), x.max() + 1) == (16, 32, 3, 27)
    assert mask.sum() == 16 * 24


def test_training_pulls_masks_to_instances():
    batch, found = perfect_masks()

    @jax.jit
    @jax.value_and_grad
    def total(prototypes):
        def net(params, batch, key):
            return {**found, "prototypes": prototypes}, {}

        return detection(FACTS).loss(net, {}, batch, jax.random.key(0))[0].sum()

    (right, _), (wrong, _) = total(found["prototypes"]), total(-found["prototypes"])
    assert right < 0.1 * wrong
    _, slope = total(np.zeros_like(found["prototypes"]))
    assert np.asarray(slope)[batch["instances"] == 1][:, 0].sum() < 0, "where a row is, its prototype rises"


def test_rows_that_are_not_there_change_no_loss_of_masks_however_many_they_are():
    """Of more than a hundred rows those that are there are trained."""
    batch, found = perfect_masks()
    padded = {name: np.pad(batch[name], ((0, 0), (150, 0), (0, 0))[: batch[name].ndim]) for name in ROWS}
    moved = np.where(batch["instances"] > 0, batch["instances"].astype(np.int32) + 150, 0)
    wrong = {**found, "prototypes": np.float32(0.1) * found["prototypes"][..., ::-1]}

    @jax.jit
    def loss(batch):
        return detection(FACTS).loss(lambda *a, **k: (wrong, {}), {}, batch, jax.random.key(0))[0]

    few, many = loss(batch), loss({**batch, **padded, "instances": moved})
    np.testing.assert_allclose(few, many, rtol=1e-5)


def test_a_net_with_masks_needs_instances_and_a_net_without_boxes_is_refused():
    arrays = {name: SOURCE.train.arrays[name] for name in ("image", "boxes", "classes", "present")}
    without = from_arrays(arrays, arrays, names=FACTS.names).facts
    batch, found = perfect_masks()
    with pytest.raises(ValueError, match=r"model\.masks is more than 0, but the data has no instances"):
        detection(without).rows(found, batch)
    drawing = {name: found[name] for name in ("main", "boxes", "places")} | {"maps": np.zeros((2, 16, 16, 1))}
    with pytest.raises(
        ValueError, match=r"model\.aligned is more than 0, but .*; set model\.aligned=0, or choose data"
    ):
        detection(without).rows(drawing, batch)
    with pytest.raises(
        ValueError, match=r"the net gives an array \(2, 64, 4\); detection needs main \(B, P, K\), boxes"
    ):
        detection(FACTS).predict(found["main"], batch)

    def net(*_):
        return jnp.zeros((2, 32, 32, 4)), {}

    net.train = False
    for call in (detection(FACTS).forward, detection(FACTS).loss):
        with pytest.raises(ValueError, match=r"an array \(2, 32, 32, 4\); detection needs .* such as detector"):
            call(net, {}, batch, jax.random.key(0))
    with pytest.raises(
        ValueError, match=r"localization needs main \(B, K\), boxes \(B, 1, 4\); choose .* such as localizer"
    ):
        localization(FACTS).tally(jnp.zeros((2, 4)), batch)
    bare = dataclasses.replace(FACTS, fields={"image": FACTS.fields["image"]})
    with pytest.raises(
        ValueError,
        match=r"task\.name is 'detection', which needs boxes, classes and names .*; the data has image$",
    ):
        detection(bare)
    with pytest.raises(ValueError, match=r"task\.threshold is 2"):
        detection(FACTS, threshold=2.0)


def test_a_net_of_one_row_an_example_is_refused_with_one_that_gives_places():
    config = {"model": {"name": "resnet18"}, "task": {"name": "detection"}}
    with pytest.raises(ConfigError) as refused:
        check_outputs(config, detection(FACTS), jnp.zeros((1, 4)), 16)
    assert str(refused.value) == (
        "model.name is 'resnet18', which gives (16, 4); detection needs (16, places, 4)\n"
        "it must be one row a place, as detector gives; choose another model.name or task.name"
    )


def test_of_a_picture_with_several_boxes_the_first_that_is_there_is_located_or_another_of_its_class():
    batch = {
        "boxes": jnp.float32([[[0, 0, 9, 9], [0, 0, 10, 10], [20, 20, 30, 30]]] * 4),
        "classes": jnp.int32([[3, 1, 1], [3, 1, 2], [3, 1, 1], [3, 1, 1]]),
        "present": jnp.float32([[0, 1, 1], [0, 1, 1], [0, 1, 1], [0, 0, 0]]),
        "label": jnp.int32([1, 1, 1, 2]),
        "valid": jnp.ones(4),
    }
    found = {
        "main": 9 * jax.nn.one_hot(jnp.array([1, 1, 0, 2]), 4),
        "boxes": jnp.float32([[[20, 20, 30, 25]], [[20, 20, 30, 30]], [[0, 0, 10, 10]], [[0, 0, 1, 1]]]),
    }
    task = localization(FACTS)
    net = lambda params, batch, key: (found, {})  # noqa: E731
    sums, words, (value, weights, _) = jax.jit(
        lambda: (task.tally(found, batch), task.predict(found, batch), task.loss(net, {}, batch, jax.random.key(0)))
    )()
    measured = task.summarize(sums, {})
    assert measured == pytest.approx({"accuracy": 3 / 4, "located": 1 / 3, "iou": (0.5 + 0 + 1) / 3})
    assert words["boxes"].shape == (4, 1, 4)
    assert float(value[3]) == pytest.approx(0, abs=1e-2), "a picture without a box is classified alone"
    assert float(weights.sum()) == 4


def test_what_is_ignored_is_no_truth_of_a_batch():
    batch = {"boxes": np.zeros((1, 3, 4)), "classes": np.zeros((1, 3), int), "present": np.float32([[1, 1, 0]])}
    known = truth_of(jax.tree.map(jnp.asarray, {**batch, "ignored": np.float32([[0, 1, 1]])}))
    assert known.present.tolist() == [[True, False, False]]
    assert known.ignored.tolist() == [[False, True, False]]


@pytest.mark.proofs
def test_shapes_are_found_boxed_and_cut_out_in_scenes_never_seen(tmp_path, train_apart):
    measured = train_apart("configs/shapes_detection.py:masks", tmp_path).measure("test")
    assert measured["ap50"] >= 0.90
    assert measured["ap"] >= 0.65
    assert measured["mask_ap50"] >= 0.80


@pytest.mark.proofs
def test_a_shape_is_located_in_scenes_never_seen(tmp_path, train_apart):
    assert train_apart("configs/shapes_localization.py", tmp_path).measure("test")["iou"] >= 0.85
